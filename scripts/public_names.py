"""Lister of the public names: one line for each name that a public module defines.

A module is public if no part of its path begins with an underscore. The names are those of a
literal `__all__`, or else the definitions and re-exports (`import X as X`) at the top level.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = [ROOT / "realtime_bridge", ROOT / "backends" / "realtime_bridge_backends"]
PINS = ROOT / "tests" / "public_names.txt"


def names(body: list[ast.stmt]) -> Iterator[str]:
    """Yield the names that the statements of a module define or re-export."""
    for statement in body:
        match statement:
            case ast.ClassDef(name) | ast.FunctionDef(name) | ast.AsyncFunctionDef(name):
                yield name
            case ast.Assign(value=ast.Call(func=ast.Name("TypeVar" | "ParamSpec"))):
                pass
            case ast.Assign(targets=[*targets]):
                yield from (target.id for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(name)):
                yield name
            case ast.ImportFrom(names=[*aliases]):
                yield from (alias.name for alias in aliases if alias.asname == alias.name)
            case ast.If(body=[*body], orelse=[*orelse]):
                yield from names([*body, *orelse])
            case _:
                pass


def public_names(module: ast.Module) -> list[str]:
    """Return the public names of a module."""
    for statement in module.body:
        match statement:
            case ast.Assign(targets=[ast.Name("__all__")], value=ast.List() as literal):
                return [str(name) for name in ast.literal_eval(literal)]
            case _:
                pass
    return [name for name in names(module.body) if not name.startswith("_")]


def listing() -> Iterator[str]:
    """Yield `module: name` for each public name."""
    for package in PACKAGES:
        for path in sorted(package.rglob("*.py")):
            parts = path.relative_to(package.parent).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            if not any(part.startswith("_") for part in parts):
                module = ast.parse(path.read_text(encoding="utf-8"))
                yield from (f"{'.'.join(parts)}: {name}" for name in public_names(module))


def pins() -> str:
    """Return the text of the file of pins."""
    return "".join(f"{line}\n" for line in sorted(set(listing())))


if __name__ == "__main__":
    PINS.write_text(pins(), encoding="utf-8")
    sys.stdout.write(f"{PINS.relative_to(ROOT)} is up to date\n")
