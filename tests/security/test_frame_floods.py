"""Tests of clients that send many frames."""

import asyncio
import logging

import pytest

from realtime_bridge.protocol.wire.close_codes import CloseCode
from tests.server.harness import FAST, Serve, Site
from tests.server.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Raw, frame

pytestmark = pytest.mark.parametrize("shell", [FAST], indirect=True)

ATTACK = 100_000
FLOODS = {
    "empty pings": (b"", frame(PING)),
    "full pings": (b"", frame(PING, b"x" * 125)),
    "pongs": (b"", frame(PONG)),
    "empty fragments": (frame(TEXT, b"x", final=False), frame(CONTINUATION, final=False)),
    "short fragments": (frame(TEXT, final=False), frame(CONTINUATION, b"x", final=False)),
    "binary fragments": (frame(BINARY, final=False), frame(CONTINUATION, b"xy", final=False)),
}


async def flood(raw: Raw, first: bytes, repeated: bytes) -> None:
    raw.send(first)
    piece = repeated * 1_000
    try:
        for _ in range(ATTACK // 1_000):
            raw.send(piece)
            await raw.writer.drain()
    except ConnectionError:
        return


async def close_code(raw: Raw) -> int:
    """Read to the close frame, past the answers to pings, and return its code."""
    while True:
        first, payload = await raw.frame()
        if first == 0x80 | CLOSE:
            return int.from_bytes(payload[:2])


@pytest.mark.parametrize("name", FLOODS)
@pytest.mark.parametrize("introduced", [False, True])
async def test_flood_of_frames_closes_its_connection(
    site: Site, name: str, *, introduced: bool
) -> None:
    watcher = await site.watch()
    raw = await (Raw.connect(site) if introduced else Raw.open(site))
    reading = asyncio.create_task(close_code(raw))
    await flood(raw, *FLOODS[name])
    assert await reading == CloseCode.RATE_LIMIT
    await watcher.notices_nothing()


async def test_few_control_frames_and_fragments_are_accepted(site: Site) -> None:
    raw = await Raw.connect(site)
    for _ in range(10):
        raw.send(frame(PING, b"p"), frame(PONG))
        assert await raw.frame() == (0x80 | PONG, b"p")
    text = b'{"type":"ping","nonce":"n"}'
    raw.send(frame(TEXT, text[:1], final=False))
    for letter in text[1:10]:
        raw.send(frame(CONTINUATION, bytes([letter]), final=False))
    raw.send(frame(CONTINUATION, text[10:]))
    assert await raw.message() == {"type": "pong", "nonce": "n"}


async def test_frames_of_one_turn_are_few_and_none_is_lost(serve: Serve) -> None:
    """The limit of a turn is below that of a second: later frames wait, in their order."""
    site = await serve(limit_frames_per_second=1_000.0)
    raw = await Raw.connect(site)
    count = 1_000
    raw.send(b"".join(frame(PING, str(number).encode()) for number in range(count)))
    payloads = [(await raw.frame())[1] for _ in range(count)]
    assert payloads == [str(number).encode() for number in range(count)]


async def test_nothing_is_parsed_after_the_close_of_a_flood(site: Site) -> None:
    raw = await Raw.open(site)
    raw.send(frame(PING) * 1_000)
    assert await close_code(raw) == CloseCode.RATE_LIMIT
    raw.send(frame(PING) * 1_000, frame(CLOSE, b"\x03\xe8"))
    await raw.ended()  # no pong, and no second close


async def test_flood_after_any_close_is_ignored(site: Site) -> None:
    raw = await Raw.open(site)
    raw.send(frame(TEXT, b"no JSON"), frame(PING) * 10_000)
    assert await close_code(raw) == CloseCode.PROTOCOL
    await raw.ended()


async def test_floods_of_several_clients_are_one_log_line(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    for _ in range(5):
        raw = await Raw.open(site)
        raw.send(frame(PING) * 1_000)
        assert await close_code(raw) == CloseCode.RATE_LIMIT
    lines = [one.getMessage() for one in caplog.records if "rejected" in one.getMessage()]
    assert len(lines) == 1
    assert "over 20 frames a second" in lines[0]


async def test_flood_to_a_route_without_clients_leaves_turns_to_others(site: Site) -> None:
    """The route of workers has uvicorn's own class, which parses few bytes in a turn."""
    worker = await site.worker()
    watcher = await site.watch()
    worker.transport.write(frame(PING) * ATTACK)
    await watcher.notices_nothing()
    await worker.send(b'{"call":"positions","channels":["job.1"],"number":1}')
    async with asyncio.timeout(60):
        assert b"positions" in (await worker.recv(decode=False))
