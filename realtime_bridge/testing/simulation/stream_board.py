"""Page of a simulated client that shows streams."""

from typing import Any

from realtime_bridge.client.loaded_state import contradicts
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.streams.snapshot import StreamSnapshot, fold_group, fold_stream


class _Shown:
    """State of a stream, and the position up to which the state is complete."""

    def __init__(self, empty: Any) -> None:
        self.snapshot = empty
        self.as_of: Position | None = None
        """None before the group is loaded, and after a reset."""
        self.waiting: list[Event] = []
        """Events that arrived while the group is loaded."""


class StreamBoard:
    """Streams of one page: groups from the log, and the events after them."""

    keeps_lost: bool = True
    """True if a stream that the log has lost stays on the page."""

    def __init__(self) -> None:
        self._shown: dict[tuple[str, str], _Shown] = {}

    def shown(self, channel: str, key: str) -> tuple[Any, Position | None]:
        """Return what is shown, and the position up to which it is complete, if it is."""
        stream = self._stream(channel, key)
        return stream.snapshot, stream.as_of

    def is_trimmed(self, channel: str, key: str) -> bool:
        """Return whether what is shown lacks items."""
        return bool(self._stream(channel, key).snapshot.trimmed)

    def keys(self, channel: str) -> list[str]:
        """Return the keys of the streams on a channel."""
        return [key for name, key in self._shown if name == channel]

    def is_loading(self, channel: str, key: str) -> bool:
        """Return whether the group of a stream is not there yet."""
        return self._stream(channel, key).as_of is None

    def contradicts(self, event: Event) -> bool:
        """Return whether a state on the event's channel describes another history."""
        return any(
            name == event.channel and stream.as_of and contradicts(stream.as_of, event)
            for (name, _), stream in self._shown.items()
        )

    def expect_group(self, channel: str, key: str) -> None:
        """Keep what is shown, until the group arrives."""
        stream = self._stream(channel, key)
        stream.as_of = None
        # The log has had these events: its group has them, or it has lost them.
        stream.waiting.clear()

    def event(self, event: Event) -> None:
        """Show an event, or keep it until the group has arrived."""
        assert event.key
        stream = self._stream(event.channel, event.key)
        if self._begins(event):
            # It needs nothing before it.
            stream.snapshot, stream.as_of = self._fold(stream.snapshot, event), event.position
            stream.waiting.clear()
        elif stream.as_of is None:
            stream.waiting.append(event)
        else:
            self._follow(stream, event)

    def group(self, channel: str, key: str, page: Page) -> None:
        """Show the state that the log has, and the events after it."""
        stream = self._stream(channel, key)
        if stream.as_of is not None:
            return  # the stream began again meanwhile
        stream.as_of = page.top
        if page.events or not self.keeps_lost:
            stream.snapshot = self._fold_group(page)
        for event in stream.waiting:
            self._follow(stream, event)
        stream.waiting.clear()

    def _stream(self, channel: str, key: str) -> _Shown:
        if (channel, key) not in self._shown:
            self._shown[channel, key] = _Shown(self._empty())
        return self._shown[channel, key]

    def _follow(self, stream: _Shown, event: Event) -> None:
        position, as_of = event.position, stream.as_of
        assert position
        assert as_of
        if position.epoch == as_of.epoch and position.offset > as_of.offset:
            stream.snapshot, stream.as_of = self._fold(stream.snapshot, event), position

    def _begins(self, event: Event) -> bool:
        """Return whether an event needs nothing before it."""
        return event.fold is None

    def _empty(self) -> Any:
        return StreamSnapshot()

    def _fold(self, snapshot: Any, event: Event) -> Any:
        return fold_stream(snapshot, event)

    def _fold_group(self, page: Page) -> Any:
        return fold_group(page.events)
