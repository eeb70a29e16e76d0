"""Tests of calls of strangers to the route of workers."""

import asyncio
import time

import pytest

from tests.security.requests import get, port_of, read_answer
from tests.server.harness import TIMEOUT, Site

MIB = 1024 * 1024


def call(*headers: str) -> bytes:
    """Return the head of a call whose body does not follow."""
    lines = ("content-type: application/json", f"content-length: {8 * MIB}", *headers)
    return get("/realtime/publish", *lines, method="POST")


@pytest.mark.parametrize(
    ("timestamp", "signature", "code"),
    [
        ("", "", "not_signed"),
        ("now", "", "not_signed"),
        ("", "0" * 64, "not_signed"),
        ("now", "0" * 63, "bad_signature"),
        ("now", "g" * 64, "bad_signature"),
        ("now", "é" * 64, "bad_signature"),
        ("soon", "0" * 64, "bad_timestamp"),
        ("nan", "0" * 64, "old_timestamp"),
        ("1000", "0" * 64, "old_timestamp"),
    ],
)
async def test_call_without_a_signature_is_refused_before_its_body(
    site: Site, timestamp: str, signature: str, code: str
) -> None:
    timestamp = f"{time.time()}" if timestamp == "now" else timestamp
    given = {"realtime-timestamp": timestamp, "realtime-signature": signature}
    headers = [f"{name}: {value}" for name, value in given.items() if value]
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(site.origin))
    writer.write(call(*headers))
    answer = await read_answer(reader)
    assert answer.status == 401
    assert code.encode() in answer.body
    writer.transport.abort()


async def test_few_large_bodies_are_read_at_once(site: Site) -> None:
    """A body that begins with a false signature could be anyone's until its end."""
    forged = (f"realtime-timestamp: {time.time()}", f"realtime-signature: {'0' * 64}")
    connections = []
    for _ in range(6):
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(site.origin))
        writer.write(call(*forged) + b"x" * MIB)
        connections.append((reader, writer))
    # Small calls of workers are not held up by them.
    for _ in range(3):
        events = [{"channel": "job.1", "event": "job.step"}]
        assert (await site.publish({"events": events}))[0] == 200
    for _, writer in connections:
        writer.write(b"x" * 7 * MIB)
    for reader, writer in connections:
        async with asyncio.timeout(3 * TIMEOUT):
            assert (await read_answer(reader)).status == 401
        writer.transport.abort()


async def test_worker_publishes_a_large_batch_beside_stalled_bodies(site: Site) -> None:
    forged = (f"realtime-timestamp: {time.time()}", f"realtime-signature: {'0' * 64}")
    writers = []
    for _ in range(1):
        _, writer = await asyncio.open_connection("127.0.0.1", port_of(site.origin))
        writer.write(call(*forged) + b"x" * MIB)
        writers.append(writer)
    event = {"channel": "job.1", "event": "job.step", "data": "x" * 500_000}
    assert (await site.publish({"events": [event, event]}))[0] == 200
    for writer in writers:
        writer.transport.abort()
