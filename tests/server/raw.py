"""A client that writes whatever bytes it likes, and reads frames as they are."""

import asyncio
from dataclasses import dataclass
from typing import Any, Self

import orjson

from realtime_bridge.protocol.wire import messages
from tests.server.harness import TIMEOUT, Site

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""The key of RFC 6455's own example, and what has to be answered to it."""

ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
MASK = b"\x37\xfa\x21\x3d"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    final: bool = True,
    reserved: int = 0,
    mask: bytes | None = MASK,
    width: int | None = None,
) -> bytes:
    """Make one frame, correct or not; `width` is how many bytes its length takes."""
    size = len(payload)
    if width is None:
        width = 0 if size < 126 else 2 if size < 1 << 16 else 8
    first = (0x80 if final else 0) | reserved | opcode
    second = (0x80 if mask else 0) | {0: size, 2: 126, 8: 127}[width]
    head = bytes((first, second)) + (size.to_bytes(width, "big") if width else b"")
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def message_frame(kind: str, **fields: Any) -> bytes:
    """Make the text frame of one of our messages."""
    return frame(TEXT, messages.encode(kind, **fields))


def request(site: Site, **changed: str | None) -> bytes:
    """Make an upgrade; a header that is None is left out."""
    headers: dict[str, str | None] = {
        "host": "127.0.0.1",
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-key": KEY,
        "sec-websocket-version": "13",
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([f"GET {site.path}/ws HTTP/1.1", *lines, "", ""]).encode()


@dataclass
class Raw:
    """A connection, below WebSocket."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def dial(cls, site: Site) -> Self:
        port = int(site.origin.rpartition(":")[2])
        raw = cls(*await asyncio.open_connection("127.0.0.1", port))
        site.exits.callback(raw.writer.close)
        site.exits.callback(raw.writer.transport.abort)
        return raw

    @classmethod
    async def open(cls, site: Site) -> Self:
        """Open a WebSocket."""
        raw = await cls.dial(site)
        raw.send(request(site))
        status, _ = await raw.answer()
        assert status == 101
        return raw

    @classmethod
    async def connect(cls, site: Site, user: str = "42") -> Self:
        """Open a WebSocket, and introduce `user` on it."""
        raw = await cls.open(site)
        raw.send(message_frame("connect", token=site.token(user)))
        assert (await raw.message())["type"] == "welcome"
        return raw

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)

    async def answer(self) -> tuple[int, dict[str, str]]:
        """Read the head of an HTTP answer."""
        async with asyncio.timeout(TIMEOUT):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        return int(first.split()[1]), {name.lower(): value for name, value in headers.items()}

    async def frame(self) -> tuple[int, bytes]:
        """Read a frame: its first byte, and its payload, which the server never masks."""
        async with asyncio.timeout(TIMEOUT):
            first, second = await self.reader.readexactly(2)
            assert second < 128
            size = second
            if second >= 126:
                size = int.from_bytes(await self.reader.readexactly(2 if second == 126 else 8))
            return first, await self.reader.readexactly(size)

    async def message(self) -> Any:
        first, payload = await self.frame()
        assert first == 0x80 | TEXT
        return orjson.loads(payload)

    async def pong(self) -> Any:
        """Prove that the server answers."""
        self.send(message_frame("ping", nonce="alive"))
        answer = await self.message()
        assert answer == {"type": "pong", "nonce": "alive"}

    async def closed(self) -> int:
        """Read to the close frame, agree to it, and see the connection end; return the code."""
        while True:
            first, payload = await self.frame()
            if first == 0x80 | CLOSE:
                break
        self.send(frame(CLOSE, payload))
        await self.ended()
        return int.from_bytes(payload[:2])

    async def ended(self) -> None:
        """See the connection end without another byte."""
        async with asyncio.timeout(TIMEOUT):
            assert await self.reader.read() == b""
        self.writer.close()
