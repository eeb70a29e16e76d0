"""Attacks on a server process: each is bytes that a stranger can send without credentials."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from tests.server.raw import CONTINUATION, KEY, PING, TEXT, frame

MIB = 1024 * 1024
PIECE = 256 * 1024
PATH = "/realtime"

LOST = (ConnectionError, asyncio.IncompleteReadError, TimeoutError)


@dataclass
class Target:
    """Server under attack, and the connections to it."""

    port: int
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(30):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        return reader, writer

    def close(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


Attack = Callable[[Target, float], Awaitable[None]]
"""Attack on a target, with its scale: 1 is all of it."""


async def _send(writer: asyncio.StreamWriter, data: bytes, total: int) -> None:
    """Send as many repetitions of the bytes as make the total, until the server closes."""
    piece = data * max(1, min(PIECE, total) // len(data))
    with suppress(*LOST):
        for _ in range(max(1, total // len(piece))):
            writer.write(piece)
            async with asyncio.timeout(30):
                await writer.drain()


async def _end(reader: asyncio.StreamReader) -> None:
    """Read until the server closes."""
    with suppress(*LOST):
        async with asyncio.timeout(30):
            while await reader.read(PIECE):
                pass


def upgrade(path: str = f"{PATH}/ws") -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        f"sec-websocket-key: {KEY}\r\nsec-websocket-version: 13\r\n\r\n"
    ).encode()


async def _flood_frames(path: str, first: bytes, rest: bytes, target: Target, scale: float) -> None:
    reader, writer = await target.dial()
    writer.write(upgrade(path))
    with suppress(*LOST):
        async with asyncio.timeout(30):
            await reader.readuntil(b"\r\n\r\n")
    writer.write(first)
    reading = asyncio.create_task(_end(reader))
    await _send(writer, rest, int(4 * MIB * scale))
    await reading


async def _flood_head(start: bytes, repeated: bytes, target: Target, scale: float) -> None:
    reader, writer = await target.dial()
    writer.write(start)
    reading = asyncio.create_task(_end(reader))
    await _send(writer, repeated, int(200 * MIB * scale))
    await reading


_HEAD = f"GET {PATH}/health HTTP/1.1\r\nhost: x\r\n".encode()
_POST = f"POST {PATH}/connect HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n".encode()


async def _send_pipelined(target: Target, scale: float) -> None:
    """Send many requests at once, and read none of the answers for a while."""
    for _ in range(max(1, int(20 * scale))):
        _, writer = await target.dial()
        writer.write((_HEAD + b"\r\n") * (4 * MIB // len(_HEAD)))
    await asyncio.sleep(10 * scale)


async def _send_cookies(target: Target, scale: float) -> None:
    """Send cookies with which a quadratic parser takes seconds, up to the limit of a head."""
    for size in (63_000, 65_536):
        for _ in range(max(1, int(20 * scale))):
            reader, writer = await target.dial()
            cookie = b'cookie: a="' + b"\\" * size + b'"\r\n'
            writer.write(_POST + cookie + b"content-length: 2\r\nconnection: close\r\n\r\n{}")
            await _end(reader)


async def _open_idle(target: Target, scale: float) -> None:
    with suppress(*LOST):
        for _ in range(int(255 * scale)):
            await target.dial()
    await asyncio.sleep(12 * scale)


async def _open_half(target: Target, scale: float) -> None:
    """Begin requests: half of them without the end of the head, half without that of the body."""
    for number in range(int(100 * scale)):
        _, writer = await target.dial()
        writer.write(_HEAD if number % 2 else _POST + b"content-length: 1000\r\n\r\n{")
    await asyncio.sleep(12 * scale)


async def _send_bodies(headers: bytes, target: Target, scale: float) -> None:
    size = int(8 * MIB * scale)

    async def post() -> None:
        reader, writer = await target.dial()
        length = f"content-length: {size}\r\nconnection: close\r\n\r\n".encode()
        writer.write(f"POST {PATH}/publish HTTP/1.1\r\nhost: x\r\n".encode() + headers + length)
        reading = asyncio.create_task(_end(reader))
        await _send(writer, b"x" * 1024, size)
        await reading

    await asyncio.gather(*(post() for _ in range(30)))


def forged_signature(now: float) -> bytes:
    return f"realtime-timestamp: {now}\r\nrealtime-signature: {'0' * 64}\r\n".encode()


def attacks(now: float) -> dict[str, Attack]:
    """Return the attacks by name; the time is for a signature that is only false."""
    ping, fragment = frame(PING), frame(CONTINUATION, final=False)
    open_message = frame(TEXT, b"x", final=False)
    chunked = _POST + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
    return {
        "empty pings": partial(_flood_frames, f"{PATH}/ws", b"", ping),
        "empty fragments": partial(_flood_frames, f"{PATH}/ws", open_message, fragment),
        "fragments of a byte": partial(
            _flood_frames, f"{PATH}/ws", open_message, frame(CONTINUATION, b"x", final=False)
        ),
        "pings to the encoded path": partial(_flood_frames, f"{PATH}/%77s", b"", ping),
        "pings to the route of workers": partial(_flood_frames, f"{PATH}/publish", b"", ping),
        "small headers": partial(_flood_head, _HEAD, b"a:b\r\n"),
        "one endless header": partial(_flood_head, _HEAD + b"a: ", b"x" * 1024),
        "an endless URL": partial(_flood_head, b"GET /", b"x" * 1024),
        "endless trailers": partial(_flood_head, chunked, b"a:b\r\n"),
        "pipelined requests": _send_pipelined,
        "cookies": _send_cookies,
        "idle sockets": _open_idle,
        "half requests": _open_half,
        "unsigned bodies": partial(_send_bodies, b""),
        "falsely signed bodies": partial(_send_bodies, forged_signature(now)),
    }
