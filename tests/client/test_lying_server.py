"""Answers with fields of the wrong type or size: no client ends, and none spins."""

import asyncio
from typing import Any

import pytest

from realtime_bridge.client.bridge_http import EventStreamParser, StreamFailedError, read_response
from realtime_bridge.client.descriptor import MAX_SECONDS, MIN_AGE, Descriptor, milliseconds
from realtime_bridge.client.key_reader import page_of
from tests.client.test_shell_vectors import Shell, turns

DESCRIPTOR = {"token": "t1", "urls": {"websocket": "ws", "poll": "poll"}}
HUGE = 1e308
"""Seconds of which the milliseconds are no number."""


async def inputs_after(*steps: dict[str, Any], **fields: object) -> list[Any]:
    """Return the machine's inputs of the steps that follow a descriptor with these fields."""
    async with asyncio.TaskGroup() as tasks:
        shell = Shell({"channels": {"orders": None}}, tasks)
        shell.act({"command": "describe"})
        await turns()
        shell.act({"http": {"status": 200, "fields": DESCRIPTOR | fields}})
        await turns()
        shell.effects()
        for step in steps:
            shell.act(step)
            await turns()
        for transport in shell.transports:
            transport.end.cancel()
        inputs: list[Any] = shell.effects()["inputs"]
        return inputs


@pytest.mark.parametrize("name", ["heartbeat", "expires", "max_age"])
def test_time_beyond_every_timer_is_a_year(name: str) -> None:
    terms = Descriptor.read({**DESCRIPTOR, name: HUGE}).terms
    assert getattr(terms, name) == MAX_SECONDS * 1_000


@pytest.mark.parametrize("seconds", [True, -1, "5", None, [5]])
def test_invalid_time_is_replaced(seconds: object) -> None:
    assert milliseconds(seconds, 7) == 7


@pytest.mark.parametrize(
    ("sent", "age"), [(0, MIN_AGE), (1.5, MIN_AGE), (60, 60_000), (-1, None), ("x", None)]
)
def test_age_that_would_make_a_client_spin_is_raised(sent: object, age: int | None) -> None:
    assert Descriptor.read({**DESCRIPTOR, "max_age": sent}).terms.max_age == age


@pytest.mark.parametrize("error", ["overloaded", 5, True, [5]])
async def test_error_of_another_type_fails_no_poll(error: object) -> None:
    answer = {"status": 200, "fields": {"channels": {"orders": {"error": error}}}}
    inputs = await inputs_after({"command": "poll"}, {"http": answer})
    assert [name for name, _ in inputs] == ["poll_succeeded", "generation"]


@pytest.mark.parametrize("url", ["http://[", "//["])
async def test_invalid_url_of_a_route_fails_the_poll(url: str) -> None:
    ((name, fields),) = await inputs_after({"command": "poll"}, urls={"poll": url})
    assert name == "poll_failed"
    assert fields["message"].startswith("the server's URL of poll is not valid: ")


@pytest.mark.parametrize("provider", ["pusher", "ably"])
@pytest.mark.parametrize("options", [{}, "x", [1], 5])
async def test_unknown_options_of_a_provider_close_the_transport(
    provider: str, options: object
) -> None:
    step = {"command": "open", "socket": 1}
    ((name, fields),) = await inputs_after(step, provider=provider, options=options)
    assert (name, fields["code"]) == ("closed", 1006)
    assert fields["message"].startswith("no connection by hosted: ")


def test_limit_of_another_type_is_ignored() -> None:
    assert Descriptor.read({**DESCRIPTOR, "limits": {"channels": True}}).channel_limit > 1


@pytest.mark.parametrize(("text", "wait"), [("5", 5_000), ("9" * 5_000, 600_000), ("-5", None)])
def test_wait_of_any_length_is_read(text: str, wait: int | None) -> None:
    assert read_response(503, b"", {"retry-after": text}).retry_after == wait


@pytest.mark.parametrize("status", [400, 403])
def test_state_refused_by_a_proxy_is_requested_again(status: int) -> None:
    assert page_of(read_response(status, b"<html>blocked</html>", {}), "orders") is None


def test_stream_searches_each_byte_once() -> None:
    parser = EventStreamParser()
    assert parser.feed(b"data: ") == []
    for size in range(1_000, 1_001_000, 1_000):
        assert parser.feed(b"x" * 1_000) == []
        assert parser.searched == len(b"data: ") + size - 3
    assert parser.feed(b"\r\n\r") == []
    assert parser.feed(b"\ndata: y\n\n") == ["x" * 1_000_000, "y"]


def test_event_beyond_the_limit_ends_the_stream() -> None:
    parser = EventStreamParser(limit=10)
    assert parser.feed(b"data: 1\n\ndata: 2") == ["1"]
    with pytest.raises(StreamFailedError, match="over 10 bytes"):
        parser.feed(b"3456")
