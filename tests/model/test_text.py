"""Printable text: the same characters in every version of Python."""

import sys

from realtime_bridge.model.names import is_label
from realtime_bridge.model.text import is_printable


def test_label_of_any_one_character_is_valid_if_it_is_printable() -> None:
    characters = map(chr, range(sys.maxunicode + 1))
    assert [text for text in characters if is_label(text) != is_printable(text)] == []
