"""Channels of a local Pusher: subscriptions, presence, cached events and deliveries."""

import re
from typing import Any, Protocol

import orjson

from realtime_bridge.protocol.pusher.names import is_cache
from realtime_bridge.testing.providers.faults import Faults

CHANNEL_LENGTH = 164
"""Longest name with its prefix (Pusher docs, channels; the SDKs allow 200)."""

_NAME = re.compile(rf"[A-Za-z0-9_=@,.;-]{{1,{CHANNEL_LENGTH}}}|#server-to-user-.{{1,128}}")

MAX_MEMBERS = 100
"""The most users of a presence channel (Pusher docs, presence channels)."""

Members = dict[str, Any]


def check_channel_name(name: str, faults: Faults) -> None:
    """Check that the app accepts a channel's name.

    Raises:
        ValueError: the app refuses the name.

    """
    if not (_NAME.fullmatch(name) and faults.accepts_name(name)):
        raise ValueError(f"Invalid channel name {name[:80]!r}")


class Subscriber(Protocol):
    """Connection, as its channels use it."""

    socket_id: str

    def send(self, event: str, data: object = None, **fields: object) -> None:
        """Send a frame about this connection, which no fault affects."""

    def deliver(self, frame: str) -> None:
        """Deliver a published event, with the faults of the provider."""


class Channels:
    """All channels of one app."""

    def __init__(self) -> None:
        self._subscribers: dict[str, dict[Subscriber, str | None]] = {}
        self._users: dict[str, Members] = {}
        self._cached: dict[str, str] = {}

    def occupied(self) -> list[str]:
        """Return the names of the channels that have subscribers."""
        return sorted(self._subscribers)

    def subscribers(self, channel: str) -> int:
        """Return the number of connections that subscribe to a channel."""
        return len(self._subscribers.get(channel, ()))

    def members(self, channel: str) -> Members:
        """Return the present users: the info of each, by user id."""
        return self._users.get(channel, {})

    def has_room(self, channel: str, member: dict[str, Any] | None) -> bool:
        """Return whether a user may join a channel: a known user is counted."""
        members = self.members(channel)
        return len(members) < MAX_MEMBERS or (member is None or str(member["user_id"]) in members)

    def has_subscriber(self, channel: str, subscriber: Subscriber) -> bool:
        """Return whether a connection subscribes to a channel."""
        return subscriber in self._subscribers.get(channel, ())

    def subscribe(
        self, channel: str, subscriber: Subscriber, member: dict[str, Any] | None
    ) -> None:
        """Subscribe a connection; `member` is its user on a presence channel."""
        user = str(member["user_id"]) if member else None
        self._subscribers.setdefault(channel, {})[subscriber] = user
        if member and user is not None:
            self._add_member(channel, subscriber, user, member.get("user_info"))
        subscriber.send(
            "pusher_internal:subscription_succeeded",
            self._presence(channel, member),
            channel=channel,
        )
        self._send_cached(channel, subscriber)

    def unsubscribe(self, channel: str, subscriber: Subscriber) -> None:
        """End a subscription."""
        subscribers = self._subscribers.get(channel, {})
        user = subscribers.pop(subscriber, None)
        # A user counts once: member_removed follows the end of the user's last socket.
        if user is not None and user not in subscribers.values():
            self._users[channel].pop(user, None)
            self._send_all(channel, "pusher_internal:member_removed", {"user_id": user})
        if not subscribers:
            self._subscribers.pop(channel, None)
            self._users.pop(channel, None)

    def unsubscribe_all(self, subscriber: Subscriber) -> None:
        """End all subscriptions of a connection."""
        channels = [name for name, them in self._subscribers.items() if subscriber in them]
        for channel in channels:
            self.unsubscribe(channel, subscriber)

    def publish(
        self, channel: str, name: str, data: str, *, excluded_socket: str | None = None
    ) -> None:
        """Deliver an event to all subscribers, except the socket that caused it."""
        frame = orjson.dumps({"event": name, "channel": channel, "data": data}).decode()
        if is_cache(channel):
            self._cached[channel] = frame
        # A subscriber that overflows unsubscribes during the loop.
        for subscriber in list(self._subscribers.get(channel, ())):
            if subscriber.socket_id != excluded_socket:
                subscriber.deliver(frame)

    def publish_client_event(self, channel: str, name: str, data: Any, sender: Subscriber) -> None:
        """Deliver a client's event to all other subscribers."""
        user = self._subscribers[channel][sender]
        fields = {"event": name, "channel": channel, "data": data} | (
            {"user_id": user} if user is not None else {}
        )
        frame = orjson.dumps(fields).decode()
        for subscriber in list(self._subscribers[channel]):
            if subscriber is not sender:
                subscriber.deliver(frame)

    def _add_member(self, channel: str, subscriber: Subscriber, user: str, info: Any) -> None:
        members = self._users.setdefault(channel, {})
        if user not in members:
            members[user] = info
            added = {"user_id": user, "user_info": info}
            self._send_all(channel, "pusher_internal:member_added", added, excluded=subscriber)

    def _presence(self, channel: str, member: dict[str, Any] | None) -> dict[str, Any]:
        if member is None:
            return {}
        members = self.members(channel)
        return {"presence": {"ids": list(members), "hash": members, "count": len(members)}}

    def _send_cached(self, channel: str, subscriber: Subscriber) -> None:
        """Deliver a cache channel's last event, or report that there is none."""
        if not is_cache(channel):
            return
        if channel in self._cached:
            subscriber.deliver(self._cached[channel])
        else:
            subscriber.send("pusher:cache_miss", channel=channel)

    def _send_all(
        self, channel: str, event: str, data: object, *, excluded: Subscriber | None = None
    ) -> None:
        for subscriber in list(self._subscribers.get(channel, ())):
            if subscriber is not excluded:
                subscriber.send(event, data, channel=channel)
