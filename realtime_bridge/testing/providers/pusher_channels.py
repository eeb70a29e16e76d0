"""Who is subscribed to which channel of a local Pusher, and what they are sent."""

from typing import Any, Protocol

import orjson

Members = dict[str, Any]


class Subscriber(Protocol):
    """One connection, as its channels see it."""

    socket_id: str

    def send(self, event: str, data: object = None, **fields: object) -> None:
        """Send a frame that concerns this connection."""

    def deliver(self, frame: str) -> None:
        """Send an event that was published: it may get lost."""


class Channels:
    """The channels of one app."""

    def __init__(self) -> None:
        self._subscribers: dict[str, dict[Subscriber, str | None]] = {}
        self._users: dict[str, Members] = {}
        self._cached: dict[str, str] = {}

    def occupied(self) -> list[str]:
        """Return the channels that have subscribers."""
        return sorted(self._subscribers)

    def subscribers(self, channel: str) -> int:
        """Count the connections that are subscribed."""
        return len(self._subscribers.get(channel, ()))

    def members(self, channel: str) -> Members:
        """Return who is present, by user id."""
        return self._users.get(channel, {})

    def has(self, channel: str, subscriber: Subscriber) -> bool:
        """Tell whether this connection is subscribed."""
        return subscriber in self._subscribers.get(channel, ())

    def join(self, channel: str, subscriber: Subscriber, member: dict[str, Any] | None) -> None:
        """Subscribe a connection, as this member where the channel knows presence."""
        user = str(member["user_id"]) if member else None
        self._subscribers.setdefault(channel, {})[subscriber] = user
        if member and user is not None:
            self._arrive(channel, subscriber, user, member.get("user_info"))
        subscriber.send(
            "pusher_internal:subscription_succeeded",
            self._presence(channel, member),
            channel=channel,
        )
        self._replay(channel, subscriber)

    def leave(self, channel: str, subscriber: Subscriber) -> None:
        """End a subscription."""
        subscribers = self._subscribers.get(channel, {})
        user = subscribers.pop(subscriber, None)
        if user is not None and user not in subscribers.values():
            self._users[channel].pop(user, None)
            self._tell(channel, "pusher_internal:member_removed", {"user_id": user})
        if not subscribers:
            self._subscribers.pop(channel, None)
            self._users.pop(channel, None)

    def leave_all(self, subscriber: Subscriber) -> None:
        """End all subscriptions of a connection."""
        for channel in [name for name, them in self._subscribers.items() if subscriber in them]:
            self.leave(channel, subscriber)

    def publish(self, channel: str, name: str, data: str, *, but: str | None = None) -> None:
        """Deliver an event to all subscribers, except the socket that caused it."""
        frame = orjson.dumps({"event": name, "channel": channel, "data": data}).decode()
        if _kind(channel).startswith("cache-"):
            self._cached[channel] = frame
        for subscriber in list(self._subscribers.get(channel, ())):
            if subscriber.socket_id != but:
                subscriber.deliver(frame)

    def whisper(self, channel: str, name: str, data: Any, sender: Subscriber) -> None:
        """Deliver a client's event to all others."""
        user = self._subscribers[channel][sender]
        fields = {"event": name, "channel": channel, "data": data} | (
            {"user_id": user} if user is not None else {}
        )
        frame = orjson.dumps(fields).decode()
        for subscriber in list(self._subscribers[channel]):
            if subscriber is not sender:
                subscriber.deliver(frame)

    def _arrive(self, channel: str, subscriber: Subscriber, user: str, info: Any) -> None:
        present = self._users.setdefault(channel, {})
        if user not in present:
            present[user] = info
            joined = {"user_id": user, "user_info": info}
            self._tell(channel, "pusher_internal:member_added", joined, but=subscriber)

    def _presence(self, channel: str, member: dict[str, Any] | None) -> dict[str, Any]:
        if member is None:
            return {}
        present = self.members(channel)
        return {"presence": {"ids": list(present), "hash": present, "count": len(present)}}

    def _replay(self, channel: str, subscriber: Subscriber) -> None:
        if not _kind(channel).startswith("cache-"):
            return
        if channel in self._cached:
            subscriber.deliver(self._cached[channel])
        else:
            subscriber.send("pusher:cache_miss", channel=channel)

    def _tell(
        self, channel: str, event: str, data: object, *, but: Subscriber | None = None
    ) -> None:
        for subscriber in list(self._subscribers.get(channel, ())):
            if subscriber is not but:
                subscriber.send(event, data, channel=channel)


def _kind(channel: str) -> str:
    """Return the name without the prefix that says who may listen."""
    for prefix in ("private-encrypted-", "private-", "presence-"):
        if channel.startswith(prefix):
            return channel.removeprefix(prefix)
    return channel
