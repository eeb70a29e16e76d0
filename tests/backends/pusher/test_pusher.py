"""Tests of pushes to a local Pusher: batches, order and limits."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from realtime_bridge import BlockingBroadcaster, Broadcaster, Event, PublishError
from realtime_bridge.testing import BackendContract, FaultyProxy
from realtime_bridge.testing.providers import LocalPusher
from realtime_bridge_backends.pusher import PusherBackend
from tests.backends.pusher.pusher_backends import EPOCH, Listener, create_backend, positioned_event


class TestContract(BackendContract):
    """Contract on this module's `backend` fixture."""


async def test_pushed_event_is_our_frame(backend: PusherBackend, listener: Listener) -> None:
    await backend.push([positioned_event({"percent": 30})])
    assert await listener.event() == {
        "type": "event",
        "channel": "job.7",
        "event": "job.step",
        "id": "job.7-1",
        "epoch": EPOCH,
        "offset": 1,
        "time": 1_763_836_800_123,
        "data": {"percent": 30},
    }


async def test_batches_of_ten_keep_channel_order(
    pusher: LocalPusher, backend: PusherBackend, listener: Listener
) -> None:
    mixed = [
        positioned_event(n, n, channel) for n in range(1, 26) for channel in ("job.7", "job.8")
    ]
    await backend.push(mixed)
    assert pusher.calls == 6
    assert [(await listener.event())["offset"] for _ in range(25)] == list(range(1, 26))


async def test_data_arrives_unchanged(backend: PusherBackend, listener: Listener) -> None:
    values: list[Any] = ["123", "true", 123, True, None, [], "é" * 3_000]
    for offset, data in enumerate(values, start=1):
        await backend.push([positioned_event(data, offset)])
        assert (await listener.event())["data"] == data


@pytest.mark.parametrize("letter", ["a", "é", "😀"])
async def test_limit_counts_encoded_bytes_and_envelope(
    backend: PusherBackend, listener: Listener, letter: str
) -> None:
    room = 10_240 - len(json.dumps(await envelope(backend, listener), separators=(",", ":")))
    size = room // len(letter.encode())
    await backend.push([positioned_event(letter * size, 2)])
    assert (await listener.event())["data"] == letter * size
    await backend.push([positioned_event(letter * (size + 1), 3)])
    stub = {"type": "stub", "channel": "job.7", "epoch": EPOCH, "offset": 3, "id": "job.7-3"}
    assert await listener.event() == stub


async def envelope(backend: PusherBackend, listener: Listener) -> dict[str, Any]:
    await backend.push([positioned_event("")])
    return await listener.event()


async def test_too_large_event_without_log_sends_nothing(
    pusher: LocalPusher, backend: PusherBackend
) -> None:
    small = Event(channel="job.7", event="job.step", data=1)
    large = Event(channel="job.7", event="job.step", data="x" * 10_240)
    with pytest.raises(PublishError, match="Pusher accepts 10,240: publish less, or set REAL"):
        await backend.push([small, large])
    assert pusher.calls == 0


async def test_all_calls_use_one_connection(pusher: LocalPusher, backend: PusherBackend) -> None:
    for offset in range(1, 6):
        await backend.push([positioned_event(offset, offset)])
    assert (pusher.calls, len(pusher.callers)) == (5, 1)


async def test_stale_connection_loses_no_event(pusher: LocalPusher, listener: Listener) -> None:
    async with FaultyProxy(pusher.port) as proxy:
        port = int(proxy.url.rpartition(":")[2])
        async with create_backend(pusher, port=port) as backend:
            await backend.push([positioned_event(1)])
            proxy.drop(after=0, direction="up")
            await backend.push([positioned_event(2, 2)])
        assert proxy.dropped == 1
    assert [(await listener.event())["offset"] for _ in range(2)] == [1, 2]


def test_backend_works_in_several_event_loops() -> None:
    async def push_in(backend: PusherBackend) -> None:
        async with backend:
            await backend.push([positioned_event(1)])

    async def serve(check: Callable[[int], None]) -> None:
        async with LocalPusher() as pusher:
            await asyncio.to_thread(check, pusher.port)
            assert pusher.calls == 2

    def check(port: int) -> None:
        pusher = LocalPusher()
        pusher.port = port
        backend = create_backend(pusher)
        for _ in range(2):
            asyncio.run(push_in(backend))

    asyncio.run(serve(check))


@pytest.mark.parametrize("in_body", [False, True])
async def test_refused_channel_costs_the_others_of_its_batch_nothing(
    pusher: LocalPusher, backend: PusherBackend, listener: Listener, *, in_body: bool
) -> None:
    pusher.faults.max_name, pusher.faults.error_in_body = 100, in_body
    events = [positioned_event(n, n) for n in range(1, 10)]
    long = positioned_event(0, 1, "x" * 100)
    with pytest.raises(PublishError, match="Invalid channel name"):
        await backend.push([*events[:4], long, *events[4:]])
    assert [(await listener.event())["offset"] for _ in range(9)] == list(range(1, 10))


async def test_blocking_broadcaster_publishes(pusher: LocalPusher, listener: Listener) -> None:
    def publish() -> None:
        with BlockingBroadcaster(
            lambda: Broadcaster(backend=create_backend(pusher))
        ) as broadcaster:
            broadcaster.publish("job.7", "job.step", "from a thread")

    await asyncio.to_thread(publish)
    assert (await listener.event())["data"] == "from a thread"


def test_publish_without_a_context_leaves_no_open_session() -> None:
    program = """
import asyncio
from realtime_bridge import Broadcaster
from realtime_bridge.testing.providers import LocalPusher
from realtime_bridge_backends.pusher import PusherBackend
async def publish():
    async with LocalPusher() as pusher:
        backend = PusherBackend("1001", "local-key", "local-secret",
                                host="127.0.0.1", port=pusher.port, tls=False)
        await Broadcaster(backend=backend).publish("job.7", "job.step", 1)
        assert pusher.calls == 1
asyncio.run(publish())
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], check=True, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("", "")
