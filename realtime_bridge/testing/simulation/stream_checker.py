"""Checker of the invariants of keys with owners and of streams: I13 to I16, and I22."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from realtime_bridge.model.event import Event
from realtime_bridge.model.receipt import Lease
from realtime_bridge.protocol.publishing.history import History
from realtime_bridge.protocol.streams.snapshot import StreamSnapshot, stream_key
from realtime_bridge.testing.simulation.log_store import (
    FullPosition,
    LogStore,
    Witness,
    full_position,
)
from realtime_bridge.testing.simulation.stream_job import Attempt
from realtime_bridge.testing.simulation.violations import Violations
from realtime_bridge.testing.simulation.virtual_loop import VirtualLoop

CHECK_SECONDS = 11.0
"""Longest time from the end of a lease until a node asks for the channel's position."""

NOTICE_SECONDS = 12.0
"""Longest time until a writer knows that it was stopped: two renewals."""


STREAM_PREFIX = stream_key("")


@dataclass(frozen=True, slots=True)
class Key:
    """State of one key, folded from its accepted events without the library's code.

    Args:
        attempt: the owner.
        lease: seconds of silence after which the log ends it; 0: never.
        active_at: the moment of the owner's last event or renewal.
        items: the items.
        end: the kind of its end.
        state: what readers see.
        written_at: the moment of the last event by which the attempt began, or added items.
        ended_at: the moment of the end.
        epochs: the epochs in which the attempt began, and in which its last event was stored.
        has_gap: whether the log has lost items before the last ones.

    """

    attempt: str
    lease: int
    active_at: float
    items: tuple[str, ...] = ()
    end: Literal["lapse", "end"] | None = None
    state: str = "open"
    written_at: float = 0.0
    ended_at: float = 0.0
    epochs: tuple[str, str] = ("", "")
    has_gap: bool = False

    @property
    def silent_at(self) -> float | None:
        """Moment at which the lease runs out; None without a lease."""
        return self.active_at + self.lease if self.lease and self.end is None else None


Keys = Mapping[str, Key]


class StreamChecker(Witness):
    """Comparison of what the log keeps, and of what pages show, with all accepted events.

    Args:
        loop: the event loop.
        store: the log.
        violations: receives violations.

    """

    def __init__(self, loop: VirtualLoop, store: LogStore, violations: Violations) -> None:
        self.attempts: dict[str, Attempt] = {}
        """Attempts by name."""
        self._loop = loop
        self._store = store
        self._fail = violations.report
        self._states: dict[FullPosition, Keys] = {}
        """Keys as of each position: of every history that the log ever had."""
        self._compared: dict[str, FullPosition] = {}
        """Position at which each epoch was compared last."""
        self._lost_at: dict[str, float] = {}
        """Moment at which each channel last lost events."""
        self._known: set[str] = set()
        """Attempts that the log has accepted."""
        store.witnesses.append(self)

    def keys(self, at: FullPosition) -> Keys:
        """Return the keys as of a position."""
        return self._states.get(at, {})

    def stored(self, event: Event, before: FullPosition, at: FullPosition) -> None:
        """Fold an accepted event."""
        keys = self.keys(before)
        if event.key and event.key.startswith(STREAM_PREFIX):
            keys = {**keys, event.key: self._fold(keys.get(event.key), event, at[0])}
        if keys:
            self._states[at] = keys

    def renewed(self, lease: Lease, history: History) -> None:
        """Record the renewal of a lease."""
        at = full_position(history.top)
        keys = self.keys(at)
        if lease.key not in keys:
            return
        state = keys[lease.key]
        if state.attempt != lease.attempt or state.end is not None:
            self._fail("I14", f"the lease of {lease.attempt} is renewed; the key is {state}")
        self._states[at] = {**keys, lease.key: replace(state, active_at=self._loop.now)}

    def settled(self, history: History) -> None:
        """Check that the groups have everything, and that no silent owner is left."""
        at = full_position(history.top)
        for name, state in self.keys(at).items():
            if state.silent_at is not None and self._loop.now >= state.silent_at:
                self._fail("I16", f"{name} is silent, and has no lapse: {state}")
            if self._compared.get(at[0]) != at:
                self._compare(name, state, history)
        self._compared[at[0]] = at

    def moved(self, before: FullPosition, after: FullPosition) -> None:
        """Copy the keys to a new epoch."""
        self._states[after] = self.keys(before)

    def lost(self, channel: str) -> None:
        """Record that a channel lost events."""
        self._lost_at[channel] = self._loop.now

    def check_shown(self, page: str, key: str, snapshot: StreamSnapshot, at: FullPosition) -> None:
        """Check that a page shows exactly what the log had as of a position (I22)."""
        state = self.keys(at).get(key)
        if state is None:
            return  # the log has lost the stream: the page keeps what it shows
        shown = snapshot.attempt, snapshot.state, snapshot.items
        if shown != (state.attempt, state.state, state.items) or snapshot.trimmed > state.has_gap:
            self._fail("I22", f"{page} shows {snapshot} of {key}; the log has {state} at {at}")

    def check_final_state(self) -> None:
        """Check after the last fault that writers know what the log has (I22)."""
        for attempt in self.attempts.values():
            channel, name = attempt.job.channel, attempt.stream.attempt
            if attempt.stream.items and name not in self._known:
                self._fail("I22", f"{name} counts items as accepted; the log has none of it")
            state = self.keys(self._store.top(channel)).get(stream_key(attempt.job.stream))
            is_owner = state is not None and state.attempt == name
            if state and is_owner and not attempt.is_dead:
                self._check_writer(attempt, state, is_whole=not self._is_lost(channel, state))

    def check_watched(self, channel: str) -> None:
        """Check that a silent owner on a channel with subscribers was ended (I16)."""
        for name, state in self.keys(self._store.top(channel)).items():
            if state.silent_at and self._loop.now > state.silent_at + CHECK_SECONDS:
                self._fail("I16", f"{name} has no lapse: {state}")

    def _check_writer(self, attempt: Attempt, state: Key, *, is_whole: bool) -> None:
        stream, now = attempt.stream, self._loop.now
        is_repaired = not state.has_gap or state.epochs[0] == state.epochs[1]
        name = f"{attempt.job.stream} by {stream.attempt}"
        is_stopped = state.state == "stopped" and now > state.ended_at + NOTICE_SECONDS
        if attempt.is_running and is_stopped and stream.state != "stopped":
            self._fail("I22", f"{name} was stopped, and its writer does not know")
        if state.end != "end" and not is_repaired:
            self._fail("I22", f"{name} has a gap that its writer could see: {state}")
        accepted = tuple(stream.items)
        is_whole &= not state.has_gap
        if is_whole and stream.state == "stopped" and state.state in ("completed", "failed"):
            self._fail("I22", f"{name} counts as stopped; the log has {state}")
        if is_whole and accepted != state.items[: len(accepted)]:
            self._fail("I22", f"{name} counts {accepted} as accepted; the log has {state}")
        has_finished = stream.state == "completed" and not attempt.is_running
        if is_whole and has_finished and state.state != "completed":
            self._fail("I22", f"{name} is completed; the log has {state}")
        is_late = now > attempt.written_at + NOTICE_SECONDS and state.end is None
        if (
            stream.state in ("open", "completed")
            and is_late
            and len(accepted) < len(attempt.written)
        ):
            self._fail("I22", f"{name} wrote {attempt.written}; only {accepted} are accepted")

    def _is_lost(self, channel: str, state: Key) -> bool:
        """Return whether the log lost events since the owner wrote the last one."""
        return self._lost_at.get(channel, 0.0) >= state.written_at

    def _fold(self, state: Key | None, event: Event, epoch: str) -> Key:
        write, now = event.write, self._loop.now
        assert write
        assert write.attempt
        if write.take is not None:
            self._check_take(state, event)
            self._known.add(write.attempt)
            epochs = (epoch, epoch)
            return Key(write.attempt, write.lease or 0, now, written_at=now, epochs=epochs)
        if state is None or state.attempt != write.attempt:
            self._fail("I14", f"{event} was accepted; the owner is {state}")
        assert state
        if state.end == "end":
            self._fail("I15", f"{event} follows the end of {state}")
        if write.fold == "lapse":
            if state.silent_at is None or now < state.silent_at:
                self._fail("I16", f"{event} ends {state}")
            return replace(state, end="lapse", state="lost")
        if write.fold == "end":
            return replace(state, end="end", state=event.data["state"], ended_at=now)
        return self._write(state, event, epoch)

    def _write(self, state: Key, event: Event, epoch: str) -> Key:
        """Return a key after the next part, or after its owner began again."""
        items = (*state.items, *event.data) if event.fold == "append" else ()
        return replace(
            state,
            items=items,
            has_gap=self._has_gap(event, items),
            end=None,
            state="open",
            active_at=self._loop.now,
            written_at=self._loop.now,
            epochs=(state.epochs[0] if items else epoch, epoch),
        )

    def _check_take(self, state: Key | None, event: Event) -> None:
        assert event.write
        assert event.write.attempt
        if state is None:
            return
        is_repeated = state.attempt == event.attempt and state.end != "end"
        if event.write.take == "absent" and not is_repeated:
            self._fail("I14", f"{event} took over {state}")
        attempt = self.attempts[event.write.attempt]
        if state.state == "stopped" and attempt.began_at > state.ended_at:
            self._fail("I22", f"{event} begins a stopped stream again: {state}")

    def _has_gap(self, event: Event, items: tuple[str, ...]) -> bool:
        """Check that items are the first ones of their writer; a rollback may leave a gap."""
        assert event.attempt
        attempt = self.attempts[event.attempt]
        written = tuple(attempt.written)
        if items == written[: len(items)]:
            return False
        if self._lost_at.get(event.channel, 0.0) < attempt.began_at:
            self._fail("I22", f"{event.attempt} wrote {written}; the log has {items}")
        return True

    def _compare(self, name: str, state: Key, history: History) -> None:
        """Compare the group that the log gives with the fold of all events (I13)."""
        items: tuple[str, ...] = ()
        attempt = end = None
        for event in history.latest(key=name).events:
            match event.fold:
                case None:
                    attempt = event.attempt
                case "append":
                    items = tuple(event.data)
                case kind:
                    end = kind
        if (attempt, items, end) != (state.attempt, state.items, state.end):
            self._fail("I13", f"the group of {name} is {(attempt, items, end)}; folded: {state}")
