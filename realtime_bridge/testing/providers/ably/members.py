"""Members of the channels of a local Ably, and the presence messages about them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from realtime_bridge.testing.providers.ably.grant import Grant, now
from realtime_bridge.testing.providers.ably.protocol import (
    AblyError,
    Action,
    Frame,
    Message,
    PresenceAction,
)

MAX_MEMBERS = 200
"""The most members of a channel (Ably docs, limits)."""

Watcher = Callable[[Frame], None]


@dataclass(kw_only=True)
class Room:
    """Members and watchers of one channel.

    Args:
        members: the last message of each member, by connection and client.
        watchers: the functions that receive presence messages.

    """

    members: dict[tuple[str, str], Message] = field(default_factory=dict)
    watchers: list[Watcher] = field(default_factory=list)


class Rooms:
    """Members of all channels of an application."""

    def __init__(self) -> None:
        self._rooms: dict[str, Room] = {}

    def room(self, channel: str) -> Room:
        """Return the members of a channel."""
        return self._rooms.setdefault(channel, Room())

    def handle(self, frame: Frame, grant: Grant, connection: str) -> None:
        """Handle the presence messages of a client.

        Raises:
            AblyError: the grant does not cover them, or the channel is full.

        """
        channel, messages = str(frame.get("channel") or ""), frame.get("presence") or []
        grant.require("presence", channel)
        for index, message in enumerate(messages):
            message["clientId"] = grant.member_id(message)
            number = f"{connection}:{frame.get('msgSerial')}:{index}"
            self._change(channel, message, connection, number, grant.claims.get(channel))

    def leave_all(self, connection: str) -> None:
        """End the membership of a connection that is gone."""
        for channel, room in self._rooms.items():
            for key in [key for key in room.members if key[0] == connection]:
                self._leave(channel, key)

    def leave(self, channel: str, connection: str) -> None:
        """End the membership of a connection that detaches."""
        for key in [key for key in self.room(channel).members if key[0] == connection]:
            self._leave(channel, key)

    def sync(self, channel: str) -> list[Frame]:
        """Return the frame with all members, if there are any."""
        members = self.room(channel).members.values()
        present = [one | {"action": PresenceAction.PRESENT} for one in members]
        frame = {"action": Action.SYNC, "channel": channel, "channelSerial": "sync:"}
        return [frame | {"presence": present}] if present else []

    def _change(
        self, channel: str, message: Message, connection: str, number: str, claim: str | None
    ) -> None:
        room, key = self.room(channel), (connection, str(message["clientId"]))
        stored = message | {"connectionId": connection, "id": number, "timestamp": now()}
        stored.pop("extras", None)
        if claim is not None:
            stored["extras"] = {"userClaim": claim}
        if message["action"] == PresenceAction.LEAVE:
            room.members.pop(key, None)
        elif key not in room.members and len(room.members) >= MAX_MEMBERS:
            reason = "Unable to enter presence channel (maximum member limit exceeded)"
            raise AblyError(91003, 400, reason)
        else:
            room.members[key] = stored
        _deliver(room.watchers, channel, stored)

    def _leave(self, channel: str, key: tuple[str, str]) -> None:
        room = self.room(channel)
        member = room.members.pop(key)
        # An id of another form: clients take it for a message of the service (RTP2b1).
        left = {"action": PresenceAction.LEAVE, "timestamp": now(), "id": f"left:{now()}:0"}
        _deliver(room.watchers, channel, member | left)


def _deliver(watchers: Iterable[Watcher], channel: str, message: Message) -> None:
    frame = {"action": Action.PRESENCE, "channel": channel, "presence": [message]}
    for watcher in list(watchers):
        watcher(frame)
