"""Tests that the table of attacks names tests that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
NAMES = re.findall(
    r"`((?:tests|clients)/[^`:]+)(?:::([^`]+))?`",
    (ROOT / "tests/security/README.md").read_text(encoding="utf-8"),
)


@pytest.mark.parametrize(("file", "test"), NAMES)
def test_named_test_exists(file: str, test: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    assert not test or f"def {test}(" in text


def test_each_file_of_this_folder_is_in_the_table() -> None:
    files = {f"tests/security/{path.name}" for path in Path(__file__).parent.glob("test_*.py")}
    assert files - {"tests/security/test_index.py"} <= {file for file, _ in NAMES}
