"""Send queue of a response that stays open."""

import asyncio

from realtime_bridge.server.http.request import Send

_PIECE_BYTES = 64 * 1024
"""Longest piece: a slow reader of a long history is not stalled, and buffers stay small."""


class ResponseOutbox:
    """Bytes that wait for the reader of a response."""

    def __init__(self) -> None:
        self.unsent_bytes: int = 0
        """Number of bytes that wait for the reader."""
        self._unsent: list[bytes] = []
        self._has_unsent = asyncio.Event()
        self._is_sent = asyncio.Event()

    def add(self, data: bytes) -> None:
        """Queue bytes."""
        self._unsent.append(data)
        self.unsent_bytes += len(data)
        self._has_unsent.set()
        self._is_sent.clear()

    async def wait_until_sent(self) -> None:
        """Wait until nothing waits for the reader."""
        await self._is_sent.wait()

    async def send_all(self, send: Send, *, stalled: float) -> None:
        """Send what is queued, now and later; never return.

        Args:
            send: sends a part of the response.
            stalled: the longest time for one part, in seconds.

        Raises:
            TimeoutError: the reader took nothing for so long.

        """
        while True:
            await self._has_unsent.wait()
            self._has_unsent.clear()
            data = b"".join(self._unsent)
            self._unsent.clear()
            for start in range(0, len(data), _PIECE_BYTES):
                piece = data[start : start + _PIECE_BYTES]
                async with asyncio.timeout(stalled):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                self.unsent_bytes -= len(piece)
            if not self.unsent_bytes:
                self._is_sent.set()
