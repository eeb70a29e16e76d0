"""Signatures for Pusher's clients by the channel rules, for applications without an endpoint."""

from collections.abc import Mapping
from typing import Any

import orjson

from realtime_bridge.backend.hosted import AuthorizationRequest
from realtime_bridge.errors import AuthRequestError
from realtime_bridge.protocol.pusher.calls import SOCKET_ID
from realtime_bridge.protocol.pusher.names import MEMBERS, ChannelNameError, decode_name
from realtime_bridge.protocol.pusher.signatures import PusherApp, channel_text, user_text


class PusherAuthorization:
    """Answers to the authorization requests of Pusher's clients.

    Args:
        app: the credentials, which sign.

    """

    def __init__(self, app: PusherApp) -> None:
        self._app = app

    async def authorize(
        self, fields: Mapping[str, str], request: AuthorizationRequest
    ) -> Mapping[str, Any] | None:
        """Return the signature of a subscription, or of a sign-in; None where it is denied.

        Raises:
            AuthRequestError: Pusher's client never sends such fields.

        """
        socket_id, name = fields.get("socket_id", ""), fields.get("channel_name")
        if not SOCKET_ID.fullmatch(socket_id):
            raise AuthRequestError(f"Bad socket_id {socket_id[:80]!r}: send the one of pusher-js")
        if name is None:
            user = orjson.dumps({"id": request.user}).decode()
            signature = self._app.sign_for_client(user_text(socket_id, user))
            return {"auth": signature, "user_data": user}
        if not name.startswith(("private-", MEMBERS)) or name.startswith("private-encrypted-"):
            # The key of an encrypted channel is the application's own, and not known here.
            raise AuthRequestError(
                f"{name[:80]!r} is not signed here: names begin with private- or presence-"
            )
        try:
            channel = decode_name(name)
        except ChannelNameError as error:
            raise AuthRequestError(str(error)) from error
        if not await request.allow(channel):
            return None
        if not name.startswith(MEMBERS):
            return {"auth": self._app.sign_for_client(channel_text(socket_id, name))}
        info = await request.describe(channel)
        member = {"user_id": request.user} | ({"user_info": info} if info is not None else {})
        data = orjson.dumps(member).decode()
        signature = self._app.sign_for_client(channel_text(socket_id, name, data))
        return {"auth": signature, "channel_data": data}
