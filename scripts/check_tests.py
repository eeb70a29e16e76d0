"""Checker of the tests: no module constant is patched, no private part is used from outside.

A test that patches a constant knows where the code keeps it; the code takes such values as
arguments instead. With `--count`, the checker prints the number of problems of each file.
"""

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PUBLIC = {"_asdict", "_fields", "_make", "_replace", "_exit"}  # of named tuples and of `os`
EXEMPT = {
    "tests/server/fakes.py",  # removes events from a memory log, as a failover of Redis does
}


def is_private(name: str) -> bool:
    """Return whether a name begins with an underscore and is no special name."""
    return name.startswith("_") and not name.endswith("__") and name != "_" and name not in PUBLIC


def patched(call: ast.Call) -> Iterator[str]:
    """Yield the name that a call of `setattr` or `patch` replaces, if it is written out."""
    match call.func:
        case ast.Attribute(attr="setattr" | "patch" | "object") | ast.Name("patch"):
            texts = [part.value for part in call.args[:2] if isinstance(part, ast.Constant)]
            yield from (str(text).rpartition(".")[2] for text in texts[:1])
        case _:
            pass


def used(node: ast.AST) -> list[str]:
    """Return the names that a node takes from another object or module."""
    match node:
        case ast.Attribute(ast.Name("self" | "cls") | ast.Call(ast.Name("super"))):
            return []
        case ast.Attribute(attr=name):
            return [name]
        case ast.ImportFrom(names=aliases):
            return [alias.name for alias in aliases]
        case _:
            return []


def problems(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the line and the description of each problem."""
    for node in ast.walk(module):
        number = getattr(node, "lineno", 0)
        replaced = list(patched(node)) if isinstance(node, ast.Call) else []
        for name in replaced:
            if name.isupper():
                yield number, f"patches the constant {name}"
        for name in [*replaced, *used(node)]:
            if is_private(name):
                yield number, f"uses the private {name}"


def main() -> int:
    """Print each problem, and return 1 where there are problems."""
    command = ["git", "-C", str(ROOT), "ls-files", "--", "tests/*.py"]
    lines = [
        (name, f"{name}:{number}: {problem}")
        for name in subprocess.check_output(command, text=True).splitlines()
        if name not in EXEMPT
        for number, problem in sorted(set(problems(ast.parse((ROOT / name).read_text("utf-8")))))
    ]
    if "--count" in sys.argv:
        lines = [
            (name, f"{count:4} {name}") for name, count in Counter(n for n, _ in lines).items()
        ]
    print("\n".join(text for _, text in lines))
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
