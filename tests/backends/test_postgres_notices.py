"""Messages in the payloads of PostgreSQL's notifications."""

import pytest

from realtime_bridge_backends.postgres.notices import PIECE, MessageReader, split_message


@pytest.mark.parametrize("message", ["{}", "x" * PIECE, "x" * (PIECE + 1), "\U0001f600" * 5_000])
def test_message_is_read_from_its_payloads(message: str) -> None:
    payloads = split_message(message)
    assert len(set(payloads)) == len(payloads)
    assert all(len(payload.encode()) < 8_000 for payload in payloads)
    reader = MessageReader()
    for _ in range(2):
        *first, last = [reader.read(payload) for payload in payloads]
        assert (set(first) <= {None}, last) == (True, message)


def test_message_whose_start_was_lost_is_an_error_and_the_next_is_read() -> None:
    first, second, last = split_message("x" * (2 * PIECE + 1))
    reader = MessageReader()
    for payload in (second, last, "", "doctor"):
        with pytest.raises(ValueError):  # noqa: PT011 -- any
            reader.read(payload)
    reader.read(first)
    assert reader.read("1/1:whole") == "whole"
