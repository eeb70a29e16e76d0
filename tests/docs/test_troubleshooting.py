"""Tests that each sentence of the troubleshooting page is one of the library."""

import ast
import re
from functools import cache

import pytest

from tests.docs.test_code_blocks import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
FOLDERS = ("realtime_bridge", "backends")
HEADINGS = re.findall(r"^### `(.+)`$", PAGE, re.MULTILINE)
LABELS = re.findall(r"^\| `(.+?)` \|", PAGE.partition("## Reasons")[0], re.MULTILINE)
LEAST = 4
"""Shortest part of a sentence, in characters, that is looked for."""


@cache
def texts() -> str:
    """Return all texts of the sources; in Python the values inside a text are left out."""
    found = [path.read_text() for path in (ROOT / "clients" / "js" / "src").rglob("*.ts*")]
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    found.append(_constant_parts(node))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return "\n".join(found)


def _constant_parts(text: ast.JoinedStr) -> str:
    return "".join(
        str(part.value) if isinstance(part, ast.Constant) else "…" for part in text.values
    )


@pytest.mark.parametrize("heading", HEADINGS)
def test_sentence_is_one_of_the_library(heading: str) -> None:
    sentence = heading.removeprefix("the server refuses the token: ")
    parts = [part.strip() for part in sentence.split("…") if len(part.strip()) >= LEAST]
    assert parts
    for part in parts:
        assert part in texts(), part


def test_page_has_every_label_of_the_badge() -> None:
    source = (ROOT / "clients" / "js" / "src" / "machine" / "status.ts").read_text()
    table = source.partition("LABELS")[2].partition("};")[0]
    assert sorted(LABELS) == sorted(label for label in re.findall(r"'(.*)'", table) if label)


def test_page_has_every_refusal_of_the_badge() -> None:
    source = (ROOT / "clients" / "js" / "src" / "react" / "status-text.ts").read_text()
    table = source.partition("DENIALS:")[2].partition("];")[0]
    details = re.findall(r"/, '(.+?)',", table)
    assert details
    assert set(details) <= set(HEADINGS)
