"""Signatures of subscriptions and sign-ins for Pusher's clients."""

import hashlib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pusher import Pusher

from realtime_bridge.backend.hosted import (
    AuthorizationRequest,
    decide_channels,
    describe_members,
)
from realtime_bridge.errors import AuthRequestError
from realtime_bridge.model.channel import is_internal
from realtime_bridge.protocol.wire.provider_names import ProviderNames

CHANNELS_PER_REQUEST = 200
"""The most channels of one authorization request."""

MAX_MEMBER_ID = 128
"""Longest id of a member of a presence channel, in characters."""

MAX_MEMBER_BYTES = 1_024
"""Largest member of a presence channel: its id, and what the application adds to it."""

_logger = logging.getLogger("realtime_bridge.server")

_SOCKET_ID = re.compile(r"\d+\.\d+")
_USER = re.compile(r"[A-Za-z0-9_=@,.;-]{1,128}")


class Signatures:
    """Answers to the authorization requests of Pusher's clients, by the application's rules.

    Args:
        pusher: the SDK's client, which signs.
        private: names of the private channels.
        presence: names of the presence channels.

    """

    def __init__(self, pusher: Pusher, *, private: ProviderNames, presence: ProviderNames) -> None:
        self._pusher = pusher
        self._private = private
        self._presence = presence

    async def authorize(
        self, fields: Mapping[str, str], request: AuthorizationRequest
    ) -> Mapping[str, Any] | None:
        """Return the answer to a request, or None where it is denied.

        Raises:
            AuthRequestError: Pusher's client never sends such fields.

        """
        # The names are signed as they come: Pusher compares the signature with the same text.
        socket_id = fields.get("socket_id", "")
        try:
            if "channel_names" in fields:
                return await self._authorize_many(
                    fields["channel_names"].split(), socket_id, request
                )
            if "channel_name" not in fields:
                return self._sign_in(socket_id, request.user)
            name = fields["channel_name"]
            channel = self._decode(name, request)
            if channel is None or not await request.allow(channel):
                return None
            return (await self._sign_all([name], socket_id, request))[name]
        except ValueError as error:  # the SDK checks the form of socket_id
            if _SOCKET_ID.fullmatch(socket_id):
                raise
            raise AuthRequestError(
                f"Bad socket_id {socket_id[:80]!r}: send the one of pusher-js"
            ) from error

    async def _authorize_many(
        self, names: Sequence[str], socket_id: str, request: AuthorizationRequest
    ) -> Mapping[str, Any]:
        if not 0 < len(names) <= CHANNELS_PER_REQUEST:
            raise AuthRequestError(
                f"{len(names)} channels requested: send channel_names=, with 1 to "
                f"{CHANNELS_PER_REQUEST} names at Pusher, separated by spaces"
            )
        channels = {name: self._decode(name, request) for name in names}
        decisions = await decide_channels(channels, request)
        return {
            "channels": await self._sign_all(decisions.allowed, socket_id, request),
            "failed": list(decisions.failures),
            "user": self._sign_in(socket_id, request.user),
        }

    def _decode(self, name: str, request: AuthorizationRequest) -> str | None:
        channel = self._presence.decode(name)
        if channel is None:
            return self._private.decode(name)
        is_refused = is_internal(channel) or len(request.user) > MAX_MEMBER_ID
        return None if is_refused else channel

    async def _sign_all(
        self, names: Sequence[str], socket_id: str, request: AuthorizationRequest
    ) -> dict[str, Mapping[str, Any]]:
        channels = {name: self._presence.decode(name) for name in names}
        infos = await describe_members([one for one in channels.values() if one], request)
        members = {
            name: _member(channel, request.user, infos[channel]) if channel else None
            for name, channel in channels.items()
        }
        return {name: self._pusher.authenticate(name, socket_id, members[name]) for name in names}

    def _sign_in(self, socket_id: str, user: str) -> Mapping[str, Any]:
        signature: Mapping[str, Any] = self._pusher.authenticate_user(
            socket_id, {"id": pusher_user(user)}
        )
        return signature


def pusher_user(user: str) -> str:
    """Return the id of a user at Pusher, which allows fewer characters than we do."""
    return user if _USER.fullmatch(user) else hashlib.sha256(user.encode()).hexdigest()


def _member(channel: str, user: str, info: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the member of a presence channel, without information that Pusher refuses."""
    member = {"user_id": user}
    if info is None:
        return member
    described = {**member, "user_info": info}
    size = len(json.dumps(described))  # as the SDK writes it
    if size <= MAX_MEMBER_BYTES:
        return described
    _logger.warning(
        "a member's information is left out, over Pusher's limit: channel=%s bytes=%d "
        "limit=%d: return less from the presence function",
        channel,
        size,
        MAX_MEMBER_BYTES,
    )
    return member
