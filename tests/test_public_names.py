"""Pins of the public names: a change of one is a change of the interface."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_public_names_are_those_of_the_pins() -> None:
    lister = runpy.run_path(str(ROOT / "scripts" / "public_names.py"))
    pinned = lister["PINS"].read_text(encoding="utf-8").splitlines()

    current = lister["pins"]().splitlines()

    hint = "if that is intended, run `make pins` and name it in CHANGELOG.md"
    assert not (gone := set(pinned) - set(current)), f"public names are missing: {gone}; {hint}"
    assert not (new := set(current) - set(pinned)), f"public names are new: {new}; {hint}"
