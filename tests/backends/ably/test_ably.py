"""Tests of pushes to a local Ably: batches, order and limits."""

import asyncio
import gc
import json
from collections.abc import Callable

import pytest
from ably import AblyRest
from hypothesis import given

from realtime_bridge import (
    BackendAuthError,
    BlockingBroadcaster,
    Broadcaster,
    Event,
    PublishError,
    RateLimitedError,
)
from realtime_bridge.protocol.wire.messages import encode_event
from realtime_bridge.testing import BackendContract, FaultyProxy
from realtime_bridge.testing.providers import LocalAbly
from realtime_bridge_backends.ably import AblyBackend
from realtime_bridge_backends.ably.batches import (
    MAX_PUBLICATION_MESSAGES,
    EncodedEvent,
    split_into_requests,
)
from tests.backends.ably.ably_backends import (
    EPOCH,
    Listener,
    create_backend,
    events,
    positioned_event,
)


class TestContract(BackendContract):
    """Contract on this module's `backend` fixture."""


async def test_pushed_message_is_our_frame_with_our_id(
    backend: AblyBackend, listener: Listener
) -> None:
    await backend.push([positioned_event({"percent": 30})])
    message = await listener.messages.get()
    assert message.id == "job.7-1"
    assert json.loads(message.data) == {
        "type": "event",
        "channel": "job.7",
        "event": "job.step",
        "id": "job.7-1",
        "epoch": EPOCH,
        "offset": 1,
        "time": 1_763_836_800_123,
        "data": {"percent": 30},
    }


async def test_repeated_push_is_delivered_once(backend: AblyBackend, listener: Listener) -> None:
    await backend.push([positioned_event(1)])
    await backend.push([positioned_event(1)])
    await backend.push([positioned_event(2, 2), positioned_event(3, 3)])
    await backend.push([positioned_event(2, 2), positioned_event(3, 3)])
    await backend.push([positioned_event(4, 4)])
    assert [(await listener.event())["data"] for _ in range(4)] == [1, 2, 3, 4]


async def test_batch_keeps_channel_order_in_few_requests(
    ably: LocalAbly, backend: AblyBackend, listener: Listener
) -> None:
    await listener.subscribe("job.8")
    events = [
        positioned_event(n, n, channel) for n in range(1, 201) for channel in ("job.7", "job.8")
    ]
    before = ably.calls
    await backend.push(events)
    assert ably.calls - before == 2
    received = [await listener.event() for _ in events]
    for channel in ("job.7", "job.8"):
        assert [event["data"] for event in received if event["channel"] == channel] == [
            *range(1, 201)
        ]


async def test_event_over_the_limit_is_pushed_as_a_stub(
    backend: AblyBackend, listener: Listener
) -> None:
    room = 65_536 - len("realtime") - len(encode_event(positioned_event("")))
    await backend.push([positioned_event("ä" * ((room - 1) // 2) + "x" * (1 + (room - 1) % 2))])
    await backend.push([positioned_event("x" * (room + 1), 2)])
    assert len((await listener.event())["data"]) > 30_000
    assert await listener.event() == {
        "type": "stub",
        "channel": "job.7",
        "epoch": EPOCH,
        "offset": 2,
        "id": "job.7-2",
    }


async def test_too_large_event_without_log_fails_with_a_hint(
    backend: AblyBackend,
) -> None:
    event = Event(channel="job.7", event="job.step", data="x" * 70_000)
    with pytest.raises(PublishError, match=r"70,107 .* Ably accepts 65,528.*set REALTIME_LOG"):
        await backend.push([event])


@given(events=events)
def test_requests_keep_order_and_limits(events: list[EncodedEvent]) -> None:
    requests = list(split_into_requests(events, overhead=8))
    for channel in "abc":
        sent = [
            message
            for request in requests
            for publication in request
            if publication.channel == channel
            for message in publication.messages
        ]
        assert sent == [event for event in events if event.channel == channel]
    for request in requests:
        assert len({publication.channel for publication in request}) == len(request)
        for publication in request:
            assert publication.size + 8 * len(publication.messages) <= 65_536
            assert 0 < len(publication.messages) <= MAX_PUBLICATION_MESSAGES
            assert len(set(publication.ids)) == len(publication.messages)


async def test_partly_rejected_batch_fails(ably: LocalAbly, backend: AblyBackend) -> None:
    ably.keys.capability = {"app:job.7": ["publish"]}
    with pytest.raises(BackendAuthError, match="give the key `publish`"):
        await backend.push([positioned_event(1), positioned_event(1, 1, "job.8")])


async def test_rejected_batch_fails(ably: LocalAbly, backend: AblyBackend) -> None:
    ably.faults.status = 429
    with pytest.raises(RateLimitedError):
        await backend.push([positioned_event(1), positioned_event(1, 1, "job.8")])


async def test_lost_answer_neither_loses_nor_repeats_events(
    ably: LocalAbly, listener: Listener
) -> None:
    async with FaultyProxy(ably.port) as proxy:
        port = int(proxy.url.rpartition(":")[2])
        async with create_backend(ably, port=port) as backend:
            await backend.push([positioned_event(1)])
            proxy.drop(after=0)
            await backend.push([positioned_event(2, 2)])
            await backend.push([positioned_event(3, 3)])
        assert proxy.dropped == 1
    assert [(await listener.event())["offset"] for _ in range(3)] == [1, 2, 3]


async def test_refused_channel_costs_the_others_nothing(
    ably: LocalAbly, backend: AblyBackend
) -> None:
    ably.faults.max_name = 100
    events = [positioned_event(n, n, f"job.{n}") for n in range(1, 120)]
    with pytest.raises(PublishError, match="Invalid channel name"):
        await backend.push([positioned_event(1, 1, "x" * 100), *events])
    assert {ably.channels.get(f"app:job.{n}").count for n in range(1, 120)} == {1}


def test_backend_works_in_several_event_loops() -> None:
    async def push_in(backend: AblyBackend) -> None:
        async with backend:
            await backend.push([positioned_event(1)])

    async def serve(check: Callable[[int], None]) -> None:
        async with LocalAbly() as ably:
            await asyncio.to_thread(check, ably.port)
            assert ably.calls == 2

    def check(port: int) -> None:
        ably = LocalAbly()
        ably.port = port
        backend = create_backend(ably)
        for _ in range(2):
            asyncio.run(push_in(backend))

    asyncio.run(serve(check))


def rest_clients() -> list[AblyRest]:
    gc.collect()
    return [item for item in gc.get_objects() if type(item) is AblyRest]


async def test_first_push_creates_the_client(backend: AblyBackend) -> None:
    assert rest_clients() == []
    await backend.push([positioned_event(1)])
    clients = rest_clients()
    await backend.push([positioned_event(2, 2)])
    assert rest_clients() == clients
    (client,) = clients
    assert len(list(client.channels)) == 0


async def test_blocking_broadcaster_publishes(ably: LocalAbly, listener: Listener) -> None:
    def publish() -> None:
        with BlockingBroadcaster(lambda: Broadcaster(backend=create_backend(ably))) as broadcaster:
            broadcaster.publish("job.7", "job.step", "from a thread")

    await asyncio.to_thread(publish)
    assert (await listener.event())["data"] == "from a thread"
