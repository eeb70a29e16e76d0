"""Form of a stream for any reader of Server-Sent Events: start, part, lost and end."""

from typing import ClassVar

from realtime_bridge.protocol.streams.encoder import StreamEncoder
from realtime_bridge.protocol.streams.steps import Items, Lost, Started, Step
from realtime_bridge.protocol.wire.server_sent_events import RETRY, encode_sse


class EventStream(StreamEncoder):
    """Encoder of events with positions, from which a reader may resume."""

    opening: ClassVar[bytes] = RETRY

    def encode(self, step: Step) -> bytes:
        """Return the event of a step; after `start` a reader drops all items."""
        match step:
            case Started():
                data = {
                    "stream": step.stream,
                    "attempt": step.attempt,
                    "format": step.format,
                    "meta": step.meta,
                    "trimmed": step.trimmed,
                }
                return encode_sse(data, event="start", position=step.position)
            case Items():
                return encode_sse(step.items, event="part", position=step.position)
            case Lost():
                return encode_sse({"state": "lost"}, event="lost", position=step.position)
        self.is_over = True
        end = {"state": step.state, "error": step.error, "by": step.by}
        return encode_sse(end, event="end", position=step.position)

    def interrupt(self, reason: str) -> bytes:  # noqa: ARG002 -- the reader reconnects and resumes
        """Return nothing: the reader resumes from its last position."""
        return b""
