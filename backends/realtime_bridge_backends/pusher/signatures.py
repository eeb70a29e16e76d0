"""Signatures of subscriptions and sign-ins for Pusher's clients."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pusher import Pusher

from realtime_bridge.backend.hosted import AuthorizationRequest, decide_channels
from realtime_bridge.errors import AuthRequestError
from realtime_bridge.protocol.wire.provider_names import ProviderNames

CHANNELS_PER_REQUEST = 200
"""The most channels of one authorization request."""

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
            channel = self._decode(name)
            if channel is None or not await request.allow(channel):
                return None
            return self._sign(name, socket_id, request.user)
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
        decisions = await decide_channels({name: self._decode(name) for name in names}, request)
        user = request.user
        return {
            "channels": {name: self._sign(name, socket_id, user) for name in decisions.allowed},
            "failed": list(decisions.failures),
            "user": self._sign_in(socket_id, user),
        }

    def _decode(self, name: str) -> str | None:
        return self._presence.decode(name) or self._private.decode(name)

    def _sign(self, name: str, socket_id: str, user: str) -> Mapping[str, Any]:
        is_presence = self._presence.decode(name) is not None
        member = {"user_id": user, "user_info": {}} if is_presence else None
        signature: Mapping[str, Any] = self._pusher.authenticate(name, socket_id, member)
        return signature

    def _sign_in(self, socket_id: str, user: str) -> Mapping[str, Any]:
        signature: Mapping[str, Any] = self._pusher.authenticate_user(
            socket_id, {"id": pusher_user(user)}
        )
        return signature


def pusher_user(user: str) -> str:
    """Return the id of a user at Pusher, which allows fewer characters than we do."""
    return user if _USER.fullmatch(user) else hashlib.sha256(user.encode()).hexdigest()
