"""Bodies of calls that publish, and their limits."""

import json
from typing import Any

import pytest

from realtime_bridge.protocol.pusher.call_error import CallError
from realtime_bridge.protocol.pusher.calls import CallLimits, client_of, read_batch, read_event
from realtime_bridge.protocol.pusher.names import decode_name

LIMITS = CallLimits(data_bytes=20, channels=3, batch=2)
EVENT = {"name": "e", "channel": "c", "data": "d"}


def event(**fields: Any) -> list[Any]:
    return read_event(json.dumps({**EVENT, **fields}).encode(), LIMITS, decode_name)


def test_event_is_read_once_for_each_channel() -> None:
    given = event(channels=["a", "private-b"], socket_id="1.2", info="subscription_count,")
    assert [(one.channel, one.name, one.data) for one in given] == [
        ("a", "e", "d"),
        ("private-b", "e", "d"),
    ]
    assert {(one.socket_id, one.info) for one in given} == {("1.2", ("subscription_count",))}
    (one,) = event()
    assert (one.channel, one.socket_id, one.info) == ("c", None, ())


def test_batch_is_read_in_order() -> None:
    body = json.dumps({"batch": [EVENT, {**EVENT, "name": "f"}]}).encode()
    assert [one.name for one in read_batch(body, LIMITS, decode_name)] == ["e", "f"]


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"channels": []}, 400, "1 to 3 channels"),
        ({"channels": list("abcd")}, 400, "1 to 3 channels"),
        ({"channels": "a"}, 400, "1 to 3 channels"),
        ({"channels": ["a", "a"]}, 400, "named twice"),
        ({"channels": [7]}, 400, "channel is not a string"),
        ({"channel": None}, 400, "channel is not a string"),
        ({"channel": "a:b"}, 400, "Invalid channel name 'a:b'"),
        ({"channel": "private-public.x"}, 400, "must not begin with public."),
        ({"name": ""}, 400, "1 to 200 characters"),
        ({"name": "x" * 201}, 400, "1 to 200 characters"),
        ({"name": 7}, 400, "1 to 200 characters"),
        ({"name": "pusher:error"}, 400, "reserved"),
        ({"name": "pusher_internal:x"}, 400, "reserved"),
        ({"data": {"a": 1}}, 400, "data is not a string"),
        ({"data": "é" * 11}, 413, "over 20 bytes"),
        ({"socket_id": "1"}, 400, "Invalid socket_id"),
        ({"socket_id": 7}, 400, "Invalid socket_id"),
    ],
)
def test_event_over_a_limit_is_refused(fields: dict[str, Any], status: int, message: str) -> None:
    with pytest.raises(CallError, match=message) as caught:
        event(**fields)
    assert caught.value.status == status


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"x"', b"\xff"])
def test_body_that_is_no_object_is_refused(body: bytes) -> None:
    for read in (read_event, read_batch):
        with pytest.raises(CallError, match=r"not a JSON object|1 to"):
            read(body, LIMITS, decode_name)


@pytest.mark.parametrize("batch", [None, [], [EVENT] * 3, {}, [7]])
def test_bad_batch_is_refused(batch: object) -> None:
    with pytest.raises(CallError, match=r"1 to 2 events|not an object"):
        read_batch(json.dumps({"batch": batch}).encode(), LIMITS, decode_name)


def test_largest_body_has_room_for_escapes() -> None:
    assert CallLimits().body_bytes > 10 * 10_240 * 6


@pytest.mark.parametrize(
    ("socket_id", "client"),
    [
        ("01.4294967295", "c_00000001ffffffff"),  # as `socketIdOf` of the npm package returns it
        ("00.0", "c_0000000000000000"),
        ("1.4294967295", None),
        ("0.5", None),
        ("01.4294967296", None),
        ("04294967296.1", None),
    ],
)
def test_page_of_our_own_client_is_known_by_its_socket_id(
    socket_id: str, client: str | None
) -> None:
    assert client_of(socket_id) == client
