"""HTTP side of the client, without a bridge."""

import pytest

from realtime_bridge.client.bridge_http import BridgeHTTP, EventStreamParser, StreamFailedError

EVENTS = b"retry: 3000\n\nid: a:1\ndata: {}\n\n: comment\n\ndata: one\ndata:two\n\n"


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
@pytest.mark.parametrize("size", [1, 2, 3, 1_000])
def test_stream_in_any_pieces_gives_the_same_events(ending: bytes, size: int) -> None:
    stream = EVENTS.replace(b"\n", ending)
    parser = EventStreamParser()
    chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert [data for chunk in chunks for data in parser.feed(chunk)] == ["{}", "one\ntwo"]


def test_event_without_its_end_is_not_given() -> None:
    assert EventStreamParser().feed(b"data: {}\n") == []


async def test_refused_connection_is_a_result_without_a_status() -> None:
    async with BridgeHTTP("http://127.0.0.1:1", timeout=5_000) as http:
        result = await http.post("http://127.0.0.1:1/poll", {}, "token")
        assert (result.status, result.message) == (None, None)
        with pytest.raises(StreamFailedError) as caught:
            await anext(http.stream("http://127.0.0.1:1/sse", {}, "token"))
        assert caught.value.status is None
