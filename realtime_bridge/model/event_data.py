"""Data of events: any JSON value within the limits, encoded once."""

from typing import Any

import orjson

from realtime_bridge.errors import InvalidEventError

MAX_DATA_BYTES = 1024 * 1024
"""Longest data of an event, in bytes of JSON."""

MAX_DEPTH = 254
"""Most levels of nested arrays and objects in the data of an event: the limit of orjson."""

BROWSER_INTEGERS = orjson.OPT_STRICT_INTEGER
"""Option of orjson that refuses integers beyond 2^53."""


def encode_data(data: Any) -> bytes:
    """Return data as JSON.

    Raises:
        InvalidEventError: the data is not JSON, or too long.

    """
    try:
        return check_size(orjson.dumps(data))
    except TypeError as error:
        raise _not_json(error) from error


def encode_large_integers(data: Any, failure: TypeError) -> bytes:
    """Return data with integers that browsers round, as JSON.

    Args:
        data: the data.
        failure: error of the encoding with `BROWSER_INTEGERS`.

    Raises:
        InvalidEventError: the failure has another cause: the data is not JSON.

    """
    if "53-bit" not in str(failure):
        raise _not_json(failure) from failure
    try:
        return orjson.dumps(data)
    except TypeError as other:  # the first failure hid this one
        raise _not_json(other) from other


def check_size(body: bytes) -> bytes:
    """Return a copy of encoded data that is not too long.

    Raises:
        InvalidEventError: it is too long.

    """
    if len(body) > MAX_DATA_BYTES:
        raise InvalidEventError(
            f"The data is {len(body):,} bytes of JSON, over the limit of {MAX_DATA_BYTES:,}. "
            "Store it elsewhere and publish its address"
        )
    return b"%b" % body  # a copy: the buffer of orjson occupies a kilobyte


def _not_json(error: TypeError) -> InvalidEventError:
    hint = ", and text for so large an integer" if "64-bit" in str(error) else ""
    return InvalidEventError(
        f"The data is not JSON: {error}. Use dict, list, str, int, float, bool and None{hint}"
    )
