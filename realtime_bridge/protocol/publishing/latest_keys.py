"""Latest event, or state, of each key of one channel."""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from math import inf

from realtime_bridge.model.event import Event
from realtime_bridge.model.key_write import KeyWrite, Refusal
from realtime_bridge.model.receipt import Renewal
from realtime_bridge.protocol.publishing.owned_keys import KeyState, offset_of, refusal

MAX_KEYS, MAX_KEY_BYTES = 1_000, 4 * 1024 * 1024
"""Limits of the keys of one channel; the longest untouched goes first."""

Latest = tuple[Event, float] | KeyState
"""Value of a key: its state, or for a plain key the latest event and the time of its append."""


class LatestKeys:
    """Keys of one channel, in the order in which they were last changed.

    A plain key costs one event. A key with an owner, or with a note, has a `KeyState`.
    """

    __slots__ = ("_by_key", "lease_at", "size", "states")

    def __init__(self) -> None:
        self._by_key: OrderedDict[str, Latest] = OrderedDict()
        self.states: int = 0
        """Number of keys with a `KeyState`: most channels have none."""
        self.lease_at: float = inf
        """Time before which no lease runs out."""
        self.size: int = 0
        """Bytes of data of all keys."""

    def __len__(self) -> int:
        return len(self._by_key)

    def values(self) -> Iterable[tuple[str, Latest]]:
        """Return each key with its value, by the offset of its last event."""
        by_key = self._by_key.items()
        return sorted(by_key, key=lambda item: _last_offset(_group(item[1], with_parts=True)))

    def refusal(self, event: Event) -> Refusal | None:
        """Return the reason for which the event is refused; None if it is accepted."""
        latest = self._by_key.get(event.key) if event.key is not None else None
        state = latest if isinstance(latest, KeyState) else None
        return refusal(state, event, exists=latest is not None)

    def noted(self, key: str | None) -> int:
        """Return the offset of the key's newest note; 0 if there is none."""
        latest = self._by_key.get(key) if self.states and key is not None else None
        return latest.noted if isinstance(latest, KeyState) else 0

    def store(self, key: str, event: Event, now: float, write: KeyWrite | None) -> None:
        """Store an accepted event, which has its position; `write` is all of its change."""
        # Removed and inserted again: the order of the dictionary is that of the last changes.
        latest = self._by_key.pop(key, None)
        if write is not None or isinstance(latest, KeyState):
            if latest is not None:
                self.size -= _size(latest)
            state = self._state_of(latest, now)
            state.apply(event, now, write)
            self._put(key, state)
        else:
            if latest is not None:
                self.size -= len(latest[0].body)
            self._by_key[key] = (event, now)
            self.size += len(event.body)
        while len(self._by_key) > MAX_KEYS or (self.size > MAX_KEY_BYTES and len(self._by_key) > 1):
            self.evict()

    def put_moved(self, key: str, latest: Latest) -> None:
        """Store the value of a key in a new epoch."""
        if isinstance(latest, KeyState):
            self.states += 1
            self._put(key, latest)
        else:
            self._by_key[key] = latest
            self.size += len(latest[0].body)

    def evict(self) -> None:
        """Remove the longest untouched key."""
        _, latest = self._by_key.popitem(last=False)
        self.size -= _size(latest)
        self.states -= isinstance(latest, KeyState)

    def expire(self, oldest: float) -> None:
        """Remove the keys that were last changed before a time."""
        while self._by_key:
            latest = next(iter(self._by_key.values()))
            touched_at = latest.touched_at if isinstance(latest, KeyState) else latest[1]
            if touched_at >= oldest:
                return
            self.evict()

    def drop_contents(self) -> None:
        """Remove the items of all keys."""
        for _, state in self._all_states():
            self.size -= state.content_bytes
            state.drop_content()

    def renew(self, key: str, attempt: str, now: float) -> Renewal:
        """Restart the lease of a key, if the attempt owns it."""
        state = self._by_key.get(key)
        if not isinstance(state, KeyState):
            return Renewal("gone")
        renewal = state.renew(attempt, now)
        if not renewal.refused:
            self._by_key.move_to_end(key)
        return renewal

    def due(self, now: float, first: Collection[str] = ()) -> list[KeyState]:
        """Return the states whose leases ran out: the given keys first, by expiry and key."""
        leased = [
            (key not in first, state.expires, key, state)
            for key, state in self._all_states()
            if state.expires is not None
        ]
        running = (expires for _, expires, _, _ in leased if expires > now)
        self.lease_at = min(running, default=inf)
        return [state for *_, state in sorted(leased) if state.is_due(now)]

    def groups(self, *, after: int, key: str | None = None) -> Iterator[list[Event]]:
        """Yield the events of each key, by the offset of its last event, beyond an offset.

        Args:
            after: the offset.
            key: the only key whose events are returned, with its items; the items of the others
                are left out.

        """
        if key is not None:
            latest = self._by_key.get(key)
            groups = [] if latest is None else [_group(latest, with_parts=True)]
        else:
            groups = [_group(latest, with_parts=False) for latest in self._by_key.values()]
            if self.states:
                # A part changes the order of the keys, and is left out here.
                groups = sorted((group for group in groups if group), key=_last_offset)
        return (group for group in groups if group and _last_offset(group) > after)

    def _state_of(self, latest: Latest | None, now: float) -> KeyState:
        if isinstance(latest, KeyState):
            return latest
        self.states += 1
        return KeyState(latest[0] if latest else None, touched_at=now)

    def _put(self, key: str, state: KeyState) -> None:
        self._by_key[key] = state
        self.size += state.size
        if state.expires is not None and state.expires < self.lease_at:
            self.lease_at = state.expires

    def _all_states(self) -> Iterator[tuple[str, KeyState]]:
        if not self.states:
            return
        for key, latest in self._by_key.items():
            if isinstance(latest, KeyState):
                yield key, latest


def _size(latest: Latest) -> int:
    return latest.size if isinstance(latest, KeyState) else len(latest[0].body)


def _group(latest: Latest, *, with_parts: bool) -> list[Event]:
    return latest.group(with_parts=with_parts) if isinstance(latest, KeyState) else [latest[0]]


def _last_offset(group: list[Event]) -> int:
    return offset_of(group[-1])
