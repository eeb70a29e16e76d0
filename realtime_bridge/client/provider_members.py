"""Members of channels that a hosted provider keeps, as events of their presence channels."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from realtime_bridge.backend.provider_connection import MemberChange, Members, ProviderMember
from realtime_bridge.client.transport import Message
from realtime_bridge.model.event import Event

EPOCH = "provider"
"""Epoch of the positions of these events, which no log gives."""

MEMBERS = "presence.members"
"""Name of the event that has all members; the others are those of a server."""

_JOINED, _LEFT = "presence.joined", "presence.left"


class ProviderMembers:
    """Translation of a provider's presence into messages of a connection.

    Args:
        receive: receives the messages.

    """

    def __init__(self, receive: Callable[[Message], None]) -> None:
        self._receive = receive
        self._offsets: dict[str, int] = {}
        """Offset of the last event, by presence channel."""

    def load(self, members: Members) -> None:
        """Restart a channel with all its members."""
        channel = members.channel
        # Beyond those of an earlier connection, whatever number of events that had.
        top = self._offsets[channel] = max(time.time_ns() // 1_000, self._offsets.get(channel, 0))
        place = {"channel": channel, "epoch": EPOCH, "offset": top}
        self._receive({"type": "reset", "reason": "truncated", **place})
        self._receive({"type": "subscribed", "events": [], **place})
        self._send(channel, MEMBERS, [_fields(member) for member in members.members])

    def change(self, change: MemberChange) -> None:
        """Pass on a member who joined or left, after the members are loaded."""
        if change.channel not in self._offsets:
            return
        if change.member:
            self._send(change.channel, _JOINED, _fields(change.member), key=change.key)
        else:
            labels = {"key": change.key, "fold": "end", "attempt": EPOCH}
            self._send(change.channel, _LEFT, None, **labels)

    def forget(self, channel: str) -> None:
        """End a channel that failed or is left."""
        self._offsets.pop(channel, None)

    def _send(self, channel: str, event: str, data: Any, **labels: str) -> None:
        offset = self._offsets[channel] = self._offsets[channel] + 1
        place = {"channel": channel, "epoch": EPOCH, "offset": offset, "id": f"{EPOCH}-{offset}"}
        self._receive({"type": "event", "event": event, "data": data, **place, **labels})


def members_of(event: Event) -> Sequence[Event]:
    """Return the event of each member in an event that has them all."""
    return [
        Event.from_trusted(
            event.channel,
            _JOINED,
            orjson.dumps(fields),
            id=event.id,
            key=str(fields["key"]),
            source=None,
            time=None,
            position=event.position,
        )
        for fields in event.data
    ]


def _fields(member: ProviderMember) -> Message:
    return {"key": member.key, "user": member.user, "info": member.info}
