"""Checker of the project's language, by the rules and exceptions in `language.toml`."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parent.parent
RULES = tomllib.loads((ROOT / "scripts" / "language.toml").read_text(encoding="utf-8"))
SUGGESTIONS = list(RULES["words"].values())
# Underscores and capitals end a word too, so that the words within names count.
WORDS = re.compile(
    rf"(?<![a-z])(?:{'|'.join(f'({words})' for words in RULES['words'])})(?![a-z])", re.IGNORECASE
)
CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
OPENING = re.compile(rf"[\s*]*\b({RULES['openings']['words']})\b")


def docstrings(path: Path, text: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each Python docstring or JSDoc comment."""
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                yield node.lineno, str(node.value.value)  # of a definition, or below a name
    elif path.suffix in {".ts", ".tsx"}:
        for comment in re.finditer(r"/\*\*(.*?)\*/", text, re.DOTALL):
            yield text.count("\n", 0, comment.start()) + 1, comment[1]


def problems(path: Path, text: str) -> Iterator[tuple[int, str, str]]:
    """Yield the line, the words and the suggestion of each problem."""
    for number, line in enumerate(text.splitlines(), 1):
        for match in WORDS.finditer(CAMEL.sub("_", line)):
            yield number, match[0], SUGGESTIONS[(match.lastindex or 1) - 1]
    for number, docstring in docstrings(path, text):
        if opening := OPENING.match(docstring):
            yield number, opening[1], RULES["openings"]["suggestion"]


def main() -> int:
    """Print each problem, and return 1 where there are problems."""
    tracked = ["git", "-C", str(ROOT), "ls-files", "--", *RULES["files"]["checked"]]
    failed = False
    for name in sys.argv[1:] or subprocess.check_output(tracked, text=True).splitlines():
        text = (ROOT / name).read_text(encoding="utf-8")
        allowed = [rule["text"] for rule in RULES["allowed"] if fnmatch(name, rule["path"])]
        for number, words, suggestion in sorted(set(problems(Path(name), text))):
            if not any(part in text.splitlines()[number - 1] for part in allowed):
                print(f"{name}:{number}: {words} — say: {suggestion}")
                failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
