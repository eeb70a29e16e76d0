"""Frames of Pusher's protocol, as its clients read them."""

import logging
from collections.abc import Mapping
from typing import Any

import orjson

from realtime_bridge.backend.provider_connection import (
    AccessDeniedError,
    ChannelFailedError,
    ConnectionLostError,
    ProviderMember,
)
from realtime_bridge.model.channel import PRESENCE

_STAYS_OPEN = 4300
"""First of Pusher's codes after which the connection stays open."""

_BAD_REQUEST = 400

_logger = logging.getLogger("realtime_bridge.client")


def decode(text: object) -> Mapping[str, Any]:
    """Return the object of a message, or of its data; an empty one where there is none."""
    try:
        value = orjson.loads(text) if isinstance(text, str | bytes) else text
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def check_error(data: Mapping[str, Any]) -> None:
    """Follow an error of the connection.

    Raises:
        ConnectionLostError: Pusher ends the connection.

    """
    code, message = data.get("code"), f"{data.get('message')} ({data.get('code')})"
    if isinstance(code, int) and code < _STAYS_OPEN:
        raise ConnectionLostError(f"Pusher: {message}")
    _logger.info("Pusher reports an error: error=%r", message)


def refusal_of(channel: str, data: Mapping[str, Any]) -> Exception:
    """Return the error of a subscription that Pusher refuses."""
    if data.get("type") == "LimitReached" and channel.startswith(PRESENCE):
        # A list without this user, or of those who have no room either, would be wrong.
        return AccessDeniedError(
            _BAD_REQUEST,
            "Pusher has room for 100 members of a channel: set REALTIME_BACKEND to another one "
            "for more",
        )
    return ChannelFailedError(channel, f"Pusher refuses the channel: {data.get('error')}")


def members_of(data: Mapping[str, Any]) -> list[ProviderMember]:
    """Return the members in the answer to a subscription."""
    presence = decode(data.get("presence"))
    infos = decode(presence.get("hash"))
    return [member_of(user, infos.get(str(user))) for user in presence.get("ids") or ()]


def member_of(user: object, info: object) -> ProviderMember:
    """Return a member; Pusher counts each user once."""
    key = str(user)
    return ProviderMember(key=key, user=key, info=info if isinstance(info, dict) else None)
