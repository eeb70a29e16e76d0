"""Code blocks of the README and the documents: Python runs, JSON parses.

The Python blocks of a page run in order, in one process, in an empty folder, with
`REALTIME_BACKEND=memory` and a secret. A block after `<!-- not run: reason -->` is compiled only.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, sys
space = {"__name__": "__main__"}
for code, name in json.load(sys.stdin):
    exec(compile(code, name, "exec"), space)
"""
SETTINGS = {
    "REALTIME_BACKEND": "memory",
    "REALTIME_SECRET": "a secret of at least 32 bytes for tests",
}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\n+)?"
    r"(?P<indent> *)```(?P<language>[\w+-]*)[^\n]*\n(?P<code>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """Code block of a page, with empty lines before it so that errors show the page's lines."""

    language: str
    code: str
    is_run: bool


def blocks(text: str) -> Iterator[Block]:
    for match in BLOCK.finditer(text):
        indent = len(match["indent"])
        lines = [line[indent:] for line in match["code"].splitlines()]
        before = "\n" * text.count("\n", 0, match.start("code"))
        yield Block(match["language"], before + "\n".join(lines) + "\n", match["reason"] is None)


def run(codes: list[tuple[str, str]], folder: Path) -> None:
    """Run the code blocks of a page one after the other in one process."""
    environment = {name: value for name, value in os.environ.items() if "REALTIME" not in name}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(codes),
        cwd=folder,
        env=environment | SETTINGS,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_blocks_of_page_work(page: Path, tmp_path: Path) -> None:
    codes: list[tuple[str, str]] = []
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.language == "python":
            compile(block.code, str(page), "exec")
            if block.is_run:
                codes.append((block.code, str(page)))
        elif block.language == "json" and block.is_run:
            json.loads(block.code)
    if codes:
        run(codes, tmp_path)


def test_blocks_are_found_with_their_language_and_line() -> None:
    text = (
        "# Page\n\n```python\none = 1\n```\n\n"
        "<!-- not run: it needs a provider -->\n```python\ntwo = 2\n```\n\n"
        "* item\n\n  ```json\n  {}\n  ```\n"
    )

    assert list(blocks(text)) == [
        Block("python", "\n" * 3 + "one = 1\n", is_run=True),
        Block("python", "\n" * 8 + "two = 2\n", is_run=False),
        Block("json", "\n" * 14 + "{}\n", is_run=True),
    ]


def test_failing_block_is_reported_with_the_line_of_the_page(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r'"page.md", line 3'):
        run([("one = 1\n", "page.md"), ("\n\none / 0\n", "page.md")], tmp_path)
