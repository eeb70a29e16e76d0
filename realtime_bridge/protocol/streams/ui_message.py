"""Form of a stream for the AI SDK: its UI message stream, version 1."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from realtime_bridge.protocol.streams.answer import Answer, OpenParts, joined
from realtime_bridge.protocol.streams.steps import Started
from realtime_bridge.protocol.wire.server_sent_events import encode_sse

_TEXT = "text"
"""Id of the only part of a stream of texts."""

_DONE = b"data: [DONE]\n\n"
_END_OF_PROGRAM = "done"
"""Type of the object that stands for `[DONE]` in pydantic-ai; it is no chunk."""

_DELTAS = {"text-delta": "id", "reasoning-delta": "id"}
_ENDS = {"text-start": ("text-end", "id"), "reasoning-start": ("reasoning-end", "id")}


class UIMessageStream(Answer):
    """Encoder of UI message chunks.

    Args:
        stream: id of the stream, which is the id of the message: a page that loads the answer again
            replaces the message.

    """

    headers: ClassVar[Mapping[str, str]] = {"x-vercel-ai-ui-message-stream": "v1"}

    def __init__(self, stream: str) -> None:
        super().__init__()
        self._stream = stream
        self._is_text = True
        self._has_start = self._has_finish = False
        self._parts = OpenParts(_ENDS)

    def beginning(self, step: Started) -> bytes:
        """Return the start of the text; chunks of a program have their own start."""
        self._is_text = step.format == "text"
        return self._encode([{"type": "text-start", "id": _TEXT}]) if self._is_text else b""

    def chunks(self, items: Sequence[Any]) -> bytes:
        """Return the items, which are chunks or texts."""
        if not self._is_text:
            return self._encode(joined(items, _DELTAS))
        delta = "".join(item for item in items if isinstance(item, str))
        return self._encode([{"type": "text-delta", "id": _TEXT, "delta": delta}])

    def ending(self, state: str) -> bytes:
        """Return the end of the message, and of the parts that a stop left open."""
        last = {"type": "abort"} if state == "stopped" else {"type": "finish"}
        ends = [] if self._has_finish else [*self._parts.close(), last]
        return self._encode(ends) + _DONE

    def failure(self, error: str) -> bytes:
        """Return an error, which ends the message."""
        return self._encode([{"type": "error", "errorText": error}]) + _DONE

    def _encode(self, chunks: Iterable[Any]) -> bytes:
        encoded = []
        for chunk in chunks:
            kind = chunk.get("type") if isinstance(chunk, dict) else None
            if kind in (None, _END_OF_PROGRAM):
                continue  # clients would refuse the whole message
            if kind == "start" or not self._has_start:
                start = chunk if kind == "start" else {"type": "start"}
                encoded.append(encode_sse({**start, "messageId": self._stream}))
            if kind != "start":
                encoded.append(encode_sse(chunk))
            self._has_start = True
            self._has_finish = self._has_finish or kind == "finish"
            self._parts.add([chunk])
        return b"".join(encoded)
