"""Backend that writes each event as a line of JSON to a file or a named pipe."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from realtime_bridge import Event, PublishError
from realtime_bridge.backend.plugin import Plugin
from realtime_bridge.backend.push import Backend, PushLimits
from realtime_bridge.protocol.wire.messages import encode_event
from realtime_bridge.settings import Settings


class JsonLinesBackend(Backend, Plugin):
    """Writer to the file of JSONLINES_PATH, by default `events.jsonl`."""

    limits = PushLimits(event_bytes=2 * 1024 * 1024, events=500, channels=500)

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return f"the file {self._path}"

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        return cls(Path(os.environ.get("JSONLINES_PATH", "events.jsonl")))

    async def push(self, events: Sequence[Event]) -> None:
        await asyncio.to_thread(self._write, b"".join(encode_event(e) + b"\n" for e in events))

    def _write(self, lines: bytes) -> None:
        try:
            with self._path.open("ab") as file:
                file.write(lines)
        except OSError as error:
            raise PublishError(f"Cannot write to {self}: {error.strerror}") from error
