"""Text, number and id of a job's data, made from any value of the application.

| value | text |
| --- | --- |
| text, also a lazily translated one | itself |
| bytes | decoded as UTF-8 |
| a member of an `Enum` | its value |
| `datetime`, `date`, `time` | ISO 8601 |
| an exception | its message, or the name of its class |
| anything else: number, `Path`, `UUID`, `Decimal`, dataclass … | `str(value)` |

A lone surrogate or a NUL becomes U+FFFD, since no JSON text or database holds it. A value whose
`__str__` raises becomes the name of its class. A number is anything that `float` takes; NaN and
infinities are no numbers.
"""

import hashlib
import math
from datetime import date, time
from enum import Enum
from typing import Any

from realtime_bridge.errors import RealtimeError
from realtime_bridge.model.names import MAX_LABEL

TEXT_BYTES = 8 * 1024
"""Longest text of a job's data, in bytes of UTF-8: people read no more of an error."""

SHORT_TEXT_BYTES = 512
"""Longest text of an update that was refused as a whole."""

FAILURES = (
    ArithmeticError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RealtimeError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""Errors of code that goes wrong by itself. A queue interrupts a task by an exception of its own,
such as SoftTimeLimitExceeded, wherever the task is: that one has to reach the task."""

_HASH_DIGITS = 32
_MAX_ID = MAX_LABEL - len("job-")


def to_text(value: object, limit: int = TEXT_BYTES) -> str | None:
    """Return a value as text of at most `limit` bytes; None stays None."""
    # The usual case first: `progress` costs under two microseconds.
    if type(value) is str and len(value) <= limit and value.isascii() and "\0" not in value:
        return value
    if value is None:
        return None
    try:
        text = _read(value)
    except Exception:
        # The application's own `__str__`: its failure must not fail the job.
        text = f"{type(value).__name__} without a readable text"
    return _shorten(text, limit)


def to_number(value: Any) -> float | None:
    """Return a value as a finite number; None where it is none."""
    if value is None:
        return None
    try:
        number = float(value)
    except Exception:
        return None
    return number if math.isfinite(number) else None


def error_text(error: BaseException) -> str:
    """Return the error's message, or the name of its class if the message is empty."""
    if isinstance(error, SystemExit) and not isinstance(error.code, str):
        return f"SystemExit: {error.code}"
    return to_text(error) or type(error).__name__


def to_job_id(value: object) -> str:
    """Return a job's id, which fits the key `job-{id}`, from the id that a queue gave.

    An id of over 124 characters, or with characters that no key has, keeps its beginning and gets
    a hash of the whole: the same id leads to the same result in every process.
    """
    text = to_text(value) or ""
    if len(text) <= _MAX_ID and text.isprintable():
        return text
    # Of the whole value: `to_text` may have shortened it.
    whole = value if isinstance(value, str) else text
    digits = hashlib.sha256(whole.encode(errors="surrogatepass")).hexdigest()[:_HASH_DIGITS]
    beginning = "".join(filter(str.isprintable, text))[: _MAX_ID - _HASH_DIGITS - 1]
    return f"{beginning}-{digits}"


def _read(value: object) -> str:
    match value:
        case Enum():
            return _read(value.value)
        case bytes() | bytearray() | memoryview():
            return bytes(value).decode(errors="replace")
        case date() | time():
            return value.isoformat()
        case _:
            return str(value)


def _shorten(text: str, limit: int) -> str:
    """Return a text that UTF-8 can encode, within a limit, with a mark where its end is missing."""
    length = len(text)
    # UTF-16 joins the two halves of a pair, and replaces a half alone.
    half_pairs = text[: limit + 1].encode("utf-16-le", "surrogatepass")
    encoded = half_pairs.decode("utf-16-le", "replace").replace("\0", "\ufffd").encode()
    if len(encoded) <= limit:
        return encoded.decode()
    mark = f" … ({length:,} characters in all)"
    return encoded[: limit - len(mark.encode())].decode(errors="ignore") + mark
