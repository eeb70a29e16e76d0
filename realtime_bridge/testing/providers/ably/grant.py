"""Permissions at a local Ably: operations by channel, for the bearer of a key or token."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from realtime_bridge.testing.providers.ably.protocol import AblyError, Message

Capability = Mapping[str, list[str]]

EVERYTHING: Capability = {"*": ["*"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Permissions of the bearer of a key or token.

    Args:
        capability: the operations by channel, or by a pattern of channels.
        key: the capability of the key that signed the token; an upper bound.
        client: the client id of all messages; None permits no client id, `*` permits any.
        expires: the expiry in milliseconds since the Unix epoch; None is never.
        issued: the time of issue in milliseconds since the Unix epoch; None for a key.
        claims: what Ably adds to the presence of the bearer, by channel.

    """

    capability: Capability
    key: Capability = field(default_factory=lambda: EVERYTHING)
    client: str | None = None
    expires: float | None = None
    issued: float | None = None
    claims: Mapping[str, str] = field(default_factory=dict)

    def is_target(self, target: str) -> bool:
        """Return whether a target of a revocation means this token: `clientId:` or `channel:`."""
        kind, _, value = target.partition(":")
        return self.issued is not None and (
            (kind == "clientId" and value == self.client)
            or (kind == "channel" and value in self.capability)
        )

    def allows(self, operation: str, channel: str) -> bool:
        """Return whether the grant covers this operation on this channel."""
        return all(_allows(one, operation, channel) for one in (self.capability, self.key))

    def require(self, operation: str, channel: str) -> None:
        """Check that the grant covers an operation.

        Raises:
            AblyError: 40142, the token has expired; 40160, the operation is not covered.

        """
        self.check_time()
        if not self.allows(operation, channel):
            raise AblyError(
                40160, 401, f"Channel denied access based on given capability: {channel}"
            )

    def member_id(self, message: Message) -> str:
        """Return the client id under which a presence message enters.

        Raises:
            AblyError: 40012, it is the id of another client; 91000, there is none.

        """
        self.set_client_id(message)
        client = str(message.get("clientId") or "")
        if not client:
            raise AblyError(91000, 400, "Unable to enter presence channel (no clientId)")
        return client

    def check_time(self) -> None:
        """Check that the grant has not expired.

        Raises:
            AblyError: 40142, the token has expired.

        """
        if self.expires is not None and self.expires <= now():
            raise AblyError(40142, 401, "Token expired")

    def set_client_id(self, message: Message) -> None:
        """Set a message's client id to that of the grant.

        Raises:
            AblyError: 40012, the message has the client id of another client.

        """
        client = message.get("clientId")
        if client and self.client not in (None, "*", client):
            raise AblyError(40012, 400, "Mismatched clientId in the message")
        if self.client and self.client != "*":
            message["clientId"] = self.client


def now() -> int:
    """Return the time in milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


def _covers(resource: str, channel: str) -> bool:
    """Return whether a resource covers a channel.

    A segment `*` stands for any segment; at the end it stands for one segment or more.
    """
    if resource == "*":
        return True
    pattern, segments = resource.split(":"), channel.split(":")
    if pattern[-1] == "*" and len(segments) >= len(pattern):
        pattern, segments = pattern[:-1], segments[: len(pattern) - 1]
    return len(pattern) == len(segments) and all(
        one in ("*", other) for one, other in zip(pattern, segments, strict=True)
    )


def _allows(capability: Capability, operation: str, channel: str) -> bool:
    return any(
        _covers(resource, channel) and not {operation, "*"}.isdisjoint(operations)
        for resource, operations in capability.items()
    )


def intersection(requested: Capability, limit: Capability) -> Capability:
    """Return the part of a requested capability that the key's own capability covers.

    Raises:
        AblyError: 40160, the key covers no part.

    """
    common = {
        resource: [one for one in operations if _allows(limit, one, resource)]
        for resource, operations in requested.items()
    }
    if not any(common.values()):
        raise AblyError(40160, 401, "The key's capability covers none of the requested one")
    return {resource: operations for resource, operations in common.items() if operations}


def parse_capability(text: object) -> Capability:
    """Return the capability of a token request; without one, everything.

    Raises:
        AblyError: 40000, it is no JSON object of lists.

    """
    if not text:
        return EVERYTHING
    try:
        capability = orjson.loads(str(text))
    except orjson.JSONDecodeError:
        capability = None
    if not isinstance(capability, dict) or not all(
        isinstance(operations, list) for operations in capability.values()
    ):
        raise AblyError(40000, 400, "A capability is a JSON object of lists")
    return capability
