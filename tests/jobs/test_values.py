"""Text, numbers and ids of jobs from values of every kind."""

import dataclasses
import enum
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import orjson
import pytest
from django.utils.functional import lazystr

from realtime_bridge.jobs.values import TEXT_BYTES, error_text, to_job_id, to_number, to_text
from realtime_bridge.model.names import is_label


class Color(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int


class UnreadableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Scalar:
    """Number of another library, such as a scalar of numpy."""

    def __float__(self) -> float:
        return 0.5

    def __str__(self) -> str:
        return "0.5"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("call.mp3", "call.mp3"),
        ("Gespräch 🎧", "Gespräch 🎧"),
        (lazystr("later"), "later"),
        (PurePosixPath("/srv/a"), "/srv/a"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Decimal("0.10"), "0.10"),
        (datetime(2025, 11, 22, 18, 40, tzinfo=UTC), "2025-11-22T18:40:00+00:00"),
        (date(2025, 11, 22), "2025-11-22"),
        (b"na\xc3\xafve \xff", "naïve \ufffd"),
        (Color.RED, "red"),
        (Point(1), "Point(x=1)"),
        (Scalar(), "0.5"),
        (math.nan, "nan"),
        ("half \ud83d of a pair", "half \ufffd of a pair"),
        ("both \ud83d\ude00 halves", "both 😀 halves"),
        ("a\0b", "a\ufffdb"),
        (UnreadableError(), "UnreadableError without a readable text"),
    ],
)
def test_value_becomes_text(value: Any, text: str | None) -> None:
    assert to_text(value) == text
    orjson.dumps(to_text(value))


@pytest.mark.parametrize("letter", ["x", "é", "😀", "\0", "\ud800"])
def test_long_text_is_shortened_with_a_mark(letter: str) -> None:
    text = to_text(letter * 2_000_000)
    assert text is not None
    assert len(text.encode()) <= TEXT_BYTES
    assert text.endswith(" … (2,000,000 characters in all)")


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1.0),
        (0.25, 0.25),
        (Decimal("0.5"), 0.5),
        (Fraction(1, 4), 0.25),
        (Scalar(), 0.5),
        ("0.5", 0.5),
        (math.nan, None),
        (math.inf, None),
        (10**400, None),
        ("soon", None),
        (None, None),
        (UnreadableError(), None),
    ],
)
def test_value_becomes_a_finite_number_or_none(value: Any, number: float | None) -> None:
    assert to_number(value) == number


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no sound"), "no sound"),
        (ValueError(), "ValueError"),
        (UnreadableError(), "UnreadableError without a readable text"),
        (SystemExit(3), "SystemExit: 3"),
        (SystemExit("no disk"), "no disk"),
    ],
)
def test_error_has_its_message_or_its_class(error: BaseException, text: str) -> None:
    assert error_text(error) == text


@pytest.mark.parametrize(
    "value", ["a1", "x" * 124, 42, 0, 653247040368672768, 653247040368672769, UUID(int=1)]
)
def test_id_that_fits_is_kept(value: Any) -> None:
    assert to_job_id(value) == str(value)


@pytest.mark.parametrize(
    "value", ["x" * 125, "x" * 300, "y" * 20_000, "a\nb", "a\ud800b", "z" * 124 + "\u200d"]
)
def test_other_id_becomes_a_stable_unique_label(value: str) -> None:
    job_id = to_job_id(value)
    assert job_id == to_job_id(value)
    assert is_label(f"job-{job_id}")
    assert to_job_id(value + "1") != job_id
