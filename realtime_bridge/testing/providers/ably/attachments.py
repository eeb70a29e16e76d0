"""Attached channels of one connection to a local Ably."""

import re
from collections.abc import Callable
from functools import partial

from realtime_bridge.testing.providers.ably import protocol
from realtime_bridge.testing.providers.ably.application import AblyApplication
from realtime_bridge.testing.providers.ably.channels import Channel, Publication
from realtime_bridge.testing.providers.ably.grant import Grant, now
from realtime_bridge.testing.providers.ably.protocol import AblyError, Action, Flag, Frame
from realtime_bridge.testing.providers.faults import FaultyDelivery

CHANNEL_FAILED = AblyError(50000, 500, "The channel failed")

MAX_CHANNELS = 200
"""The most channels of one connection, whatever the package (Ably docs, limits)."""

TOO_MANY_CHANNELS = AblyError(
    90010, 400, f"Maximum number of channels per connection ({MAX_CHANNELS}) exceeded"
)

_REWIND = re.compile(r"([1-9]\d{0,5})([sm]?)")


class Attachments:
    """Channel attachments of one connection, and the delivery of publications to its client.

    Args:
        application: the application that has the channels.
        connection: the connection's id.
        form: the format of the client's frames.
        echo: whether the client receives its own messages.
        send: the function that sends a frame to the client.

    """

    def __init__(
        self,
        application: AblyApplication,
        connection: str,
        *,
        form: protocol.Format,
        echo: bool,
        send: Callable[[Frame], None],
    ) -> None:
        self._application = application
        self._connection = connection
        self._form = form
        self._echo = echo
        self._send = send
        self._delivery = FaultyDelivery(application.faults, send)
        self._subscribers: dict[str, Callable[[Publication], None]] = {}

    def attach(self, grant: Grant, frame: Frame) -> None:
        """Attach a channel from the client's serial, from a rewound position, or from now on.

        Raises:
            AblyError: the name is not valid, the grant does not cover the channel, or there are too
                many.

        """
        name, params = str(frame.get("channel") or ""), frame.get("params") or {}
        if name in self._application.faults.unanswered:
            return
        self._check_room(name)
        channel = self._application.channels.get(name)
        modes = _modes(grant, name)
        self.unsubscribe(name)
        missed_events = (
            channel.since(frame["channelSerial"]) if frame.get("channelSerial") else None
        )
        backlog = _rewind(channel, params.get("rewind")) if missed_events is None else missed_events
        members = self._application.rooms.sync(name) if modes & Flag.SUBSCRIBE else []
        flags = modes | (Flag.HAS_BACKLOG if backlog else Flag(0))
        flags |= Flag.HAS_PRESENCE if members else Flag(0)
        answer: Frame = {"action": Action.ATTACHED, "channel": name, "params": params}
        if missed_events is not None:
            flags |= Flag.RESUMED
        elif frame.get("channelSerial"):
            # Without RESUMED, and with this error, clients know that messages are lost.
            lost = AblyError(90003, 404, "Unable to recover the channel: messages expired")
            answer["error"] = lost.to_json()
        serial = channel.serial if missed_events is None else frame["channelSerial"]
        self._send(answer | {"channelSerial": serial, "flags": int(flags)})
        for following in (*(self._message(name, one) for one in backlog), *members):
            self._send(following)
        if modes & Flag.SUBSCRIBE:
            self._subscribe(name, channel)

    def _check_room(self, name: str) -> None:
        if name in self._application.faults.failing:
            raise CHANNEL_FAILED
        if len(self._subscribers.keys() - {name}) >= MAX_CHANNELS:
            raise TOO_MANY_CHANNELS

    def fail(self, name: str, error: AblyError) -> None:
        """End one channel with an error, if it is attached."""
        if name in self._subscribers:
            self.unsubscribe(name)
            self._send({"action": Action.ERROR, "channel": name, "error": error.to_json()})

    def detach(self, frame: Frame) -> None:
        """Detach a channel."""
        name = str(frame.get("channel") or "")
        self.unsubscribe(name)
        self._application.rooms.leave(name, self._connection)
        self._send({"action": Action.DETACHED, "channel": name})

    def apply_grant(self, grant: Grant) -> None:
        """Detach the channels that a new grant does not cover."""
        for name in [one for one in self._subscribers if not grant.allows("subscribe", one)]:
            self.fail(name, AblyError(40160, 401, "The new token does not cover the channel"))

    def unsubscribe(self, name: str) -> None:
        """End the delivery of one channel."""
        deliver = self._subscribers.pop(name, None)
        if deliver is not None:
            self._application.channels.get(name).subscribers.remove(deliver)
            self._application.rooms.room(name).watchers.remove(self._send)
            self._application.changes.notify()

    def unsubscribe_all(self) -> None:
        """End the delivery of every channel."""
        for name in list(self._subscribers):
            self.unsubscribe(name)

    def _subscribe(self, name: str, channel: Channel) -> None:
        deliver = partial(self._deliver, name)
        self._subscribers[name] = deliver
        channel.subscribers.append(deliver)
        self._application.rooms.room(name).watchers.append(self._send)
        self._application.changes.notify()

    def _deliver(self, name: str, publication: Publication) -> None:
        if self._echo or publication.connection != self._connection:
            self._delivery.deliver(self._message(name, publication))

    def _message(self, name: str, publication: Publication) -> Frame:
        sender = {"connectionId": publication.connection} if publication.connection else {}
        return {
            "action": Action.MESSAGE,
            "channel": name,
            "channelSerial": publication.serial,
            "id": publication.serial,
            "timestamp": publication.time,
            "messages": [
                protocol.render_message(message, self._form) for message in publication.messages
            ],
            **sender,
        }


_MODES = {
    "subscribe": Flag.SUBSCRIBE | Flag.PRESENCE_SUBSCRIBE,
    "publish": Flag.PUBLISH,
    "presence": Flag.PRESENCE,
}


def _modes(grant: Grant, channel: str) -> Flag:
    grant.check_time()
    modes = Flag(0)
    for operation, mode in _MODES.items():
        if grant.allows(operation, channel):
            modes |= mode
    if not modes:
        grant.require("subscribe", channel)
    return modes


def _rewind(channel: Channel, rewind: object) -> list[Publication]:
    """Return the newest publications of a `rewind` parameter: a number, or a time.

    Ably docs, channel options: `10` is ten messages, `15s` is 15 seconds, `1m` is one minute.
    """
    match = _REWIND.fullmatch(str(rewind or ""))
    if not match:
        return []
    number, unit = int(match[1]), match[2]
    if not unit:
        return list(channel.publications)[-number:]
    before = now() - number * {"s": 1_000, "m": 60_000}[unit]
    return [publication for publication in channel.publications if publication.time >= before]
