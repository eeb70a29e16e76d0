"""Form of a stream for AG-UI: the events of one run."""

from collections.abc import Iterable, Sequence
from typing import Any

from realtime_bridge.protocol.streams.answer import Answer, OpenParts, joined
from realtime_bridge.protocol.streams.steps import Started
from realtime_bridge.protocol.wire.server_sent_events import encode_sse

_DELTAS = {
    "TEXT_MESSAGE_CONTENT": "messageId",
    "REASONING_MESSAGE_CONTENT": "messageId",
    "TOOL_CALL_ARGS": "toolCallId",
}
_ENDS = {
    "TEXT_MESSAGE_START": ("TEXT_MESSAGE_END", "messageId"),
    "TOOL_CALL_START": ("TOOL_CALL_END", "toolCallId"),
    "REASONING_START": ("REASONING_END", "messageId"),
    "REASONING_MESSAGE_START": ("REASONING_MESSAGE_END", "messageId"),
    "STEP_STARTED": ("STEP_FINISHED", "stepName"),
}


class AGUIRun(Answer):
    """Encoder of AG-UI events.

    Args:
        channel: channel of the stream, which is the thread of a run of texts.
        stream: id of the stream, which is the id of that run, and of its message.

    """

    def __init__(self, channel: str, stream: str) -> None:
        super().__init__()
        self._run = {"threadId": channel, "runId": stream}
        self._message = {"messageId": stream}
        self._is_text = True
        self._has_start = self._has_end = self._has_error = False
        self._parts = OpenParts(_ENDS)

    def beginning(self, step: Started) -> bytes:
        """Return the start of the text; events of a program have their own start."""
        self._is_text = step.format == "text"
        start = {"type": "TEXT_MESSAGE_START", **self._message, "role": "assistant"}
        return self._encode([start]) if self._is_text else b""

    def chunks(self, items: Sequence[Any]) -> bytes:
        """Return the items, which are events or texts."""
        if not self._is_text:
            return self._encode(joined(items, _DELTAS))
        delta = "".join(item for item in items if isinstance(item, str))
        # Clients refuse an empty delta.
        content = {"type": "TEXT_MESSAGE_CONTENT", **self._message, "delta": delta}
        return self._encode([content]) if delta else b""

    def ending(self, state: str) -> bytes:
        """Return the end of the run, and of the parts that a stop left open."""
        if self._has_end or self._has_error:
            return b""
        outcome = {"outcome": {"type": "cancelled"}} if state == "stopped" else {}
        finished = {"type": "RUN_FINISHED", **self._run, **outcome}
        return self._encode([*self._parts.close(), finished])

    def failure(self, error: str) -> bytes:
        """Return an error, which ends the run."""
        # Clients refuse a second error of a run.
        return b"" if self._has_error else self._encode([{"type": "RUN_ERROR", "message": error}])

    def _encode(self, events: Iterable[Any]) -> bytes:
        encoded = []
        for event in events:
            if not isinstance(event, dict):
                continue  # of another program: clients would refuse the whole run
            kind = event.get("type")
            if kind == "RUN_STARTED":
                # An end of ours names the run as the program does.
                self._run = {name: str(event.get(name)) for name in self._run}
            elif not self._has_start:
                encoded.append(encode_sse({"type": "RUN_STARTED", **self._run}))
            self._has_start = True
            self._has_end = self._has_end or kind == "RUN_FINISHED"
            self._has_error = self._has_error or kind == "RUN_ERROR"
            self._parts.add([event])
            encoded.append(encode_sse(event))
        return b"".join(encoded)
