"""The channels that one connection to a local Ably is attached to."""

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from realtime_bridge.testing.providers import ably_wire as wire
from realtime_bridge.testing.providers.ably_channels import Channel, Publication
from realtime_bridge.testing.providers.ably_keys import Grant, now
from realtime_bridge.testing.providers.ably_wire import Action, Flag, Frame, RefusedByAbly
from realtime_bridge.testing.providers.faults import Weather

if TYPE_CHECKING:
    from realtime_bridge.testing.providers.ably import LocalAbly

_REWIND = re.compile(r"([1-9]\d{0,5})([sm]?)")


class Attachments:
    """Attaches and detaches channels, and hands on what is published there.

    Args:
        ably: whose channels they are.
        connection: the connection's id.
        form: what its client reads.
        echo: whether it gets what it published itself.
        send: takes a frame for the client.

    """

    def __init__(
        self,
        ably: "LocalAbly",
        connection: str,
        *,
        form: wire.Format,
        echo: bool,
        send: Callable[[Frame], None],
    ) -> None:
        self._ably = ably
        self._connection = connection
        self._form = form
        self._echo = echo
        self._send = send
        self._weather = Weather(ably.faults, send)
        self._subscribed: dict[str, Callable[[Publication], None]] = {}

    def attach(self, grant: Grant, frame: Frame) -> None:
        """Attach a channel: from where the client was, from a while ago, or from now.

        Raises:
            RefusedByAbly: its name or the grant does not allow it.

        """
        name, params = str(frame.get("channel") or ""), frame.get("params") or {}
        channel = self._ably.channels.get(name)
        modes = _modes(grant, name)
        self.leave(name)
        missed = channel.since(frame["channelSerial"]) if frame.get("channelSerial") else None
        backlog = _rewound(channel, params.get("rewind")) if missed is None else missed
        flags = modes | (Flag.HAS_BACKLOG if backlog else Flag(0))
        answer: Frame = {"action": Action.ATTACHED, "channel": name, "params": params}
        if missed is not None:
            flags |= Flag.RESUMED
        elif frame.get("channelSerial"):
            lost = RefusedByAbly(90003, 404, "Unable to recover the channel: messages expired")
            answer["error"] = lost.to_json()
        serial = channel.serial if missed is None else frame["channelSerial"]
        self._send(answer | {"channelSerial": serial, "flags": int(flags)})
        for publication in backlog:
            self._send(self._message(name, publication))
        if modes & Flag.SUBSCRIBE:
            self._join(name, channel)

    def detach(self, frame: Frame) -> None:
        """Detach a channel."""
        name = str(frame.get("channel") or "")
        self.leave(name)
        self._send({"action": Action.DETACHED, "channel": name})

    def keep(self, grant: Grant) -> None:
        """Go on with what a new grant covers; the rest fails."""
        for name in [one for one in self._subscribed if not grant.allows("subscribe", one)]:
            self.leave(name)
            lost = RefusedByAbly(40160, 401, "The new token does not cover the channel")
            self._send({"action": Action.ERROR, "channel": name, "error": lost.to_json()})

    def leave(self, name: str) -> None:
        """Hear a channel no more."""
        deliver = self._subscribed.pop(name, None)
        if deliver is not None:
            self._ably.channels.get(name).subscribers.remove(deliver)
            self._ably.notify()

    def leave_all(self) -> None:
        """Hear nothing more."""
        for name in list(self._subscribed):
            self.leave(name)

    def _join(self, name: str, channel: Channel) -> None:
        deliver = partial(self._deliver, name)
        self._subscribed[name] = deliver
        channel.subscribers.append(deliver)
        self._ably.notify()

    def _deliver(self, name: str, publication: Publication) -> None:
        if self._echo or publication.connection != self._connection:
            self._weather.carry(self._message(name, publication))

    def _message(self, name: str, publication: Publication) -> Frame:
        sender = {"connectionId": publication.connection} if publication.connection else {}
        return {
            "action": Action.MESSAGE,
            "channel": name,
            "channelSerial": publication.serial,
            "id": publication.serial,
            "timestamp": publication.time,
            "messages": [wire.outgoing(one, self._form) for one in publication.messages],
            **sender,
        }


def _modes(grant: Grant, channel: str) -> Flag:
    grant.check_time()
    modes = Flag(0)
    for operation, mode in (("subscribe", Flag.SUBSCRIBE), ("publish", Flag.PUBLISH)):
        if grant.allows(operation, channel):
            modes |= mode
    if not modes:
        grant.require("subscribe", channel)
    return modes


def _rewound(channel: Channel, rewind: object) -> list[Publication]:
    """Return the last few that `rewind` asks for: a number, or seconds or minutes."""
    found = _REWIND.fullmatch(str(rewind or ""))
    if not found:
        return []
    number, unit = int(found[1]), found[2]
    if not unit:
        return list(channel.kept)[-number:]
    before = now() - number * {"s": 1_000, "m": 60_000}[unit]
    return [one for one in channel.kept if one.time >= before]
