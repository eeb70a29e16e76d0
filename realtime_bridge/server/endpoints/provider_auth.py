"""Authorization requests of a hosted provider's client library."""

import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

from realtime_bridge.backend.hosted import AuthorizationRequest
from realtime_bridge.errors import AuthRequestError
from realtime_bridge.model import ids
from realtime_bridge.model.channel import is_internal
from realtime_bridge.server.auth.access import ChannelAccess
from realtime_bridge.server.auth.authenticator import Authenticator
from realtime_bridge.server.auth.principal import Principal
from realtime_bridge.server.auth.revocations import control_channel
from realtime_bridge.server.auth.tokens import TOKEN_SECONDS
from realtime_bridge.server.http.denial import FAILED
from realtime_bridge.server.http.request import HTTPError, Request
from realtime_bridge.server.http.response import Response
from realtime_bridge.server.presence import Describe


class Signer(Protocol):
    """Part that signs the subscriptions of a provider's client; see `HostedBackend.authorize`."""

    async def authorize(
        self, fields: Mapping[str, str], request: AuthorizationRequest
    ) -> Mapping[str, Any] | None:
        """Return the answer in the format of that client; None denies."""


class ProviderAuthorization:
    """Authorization for the clients of one hosted provider.

    Args:
        provider: the signer, such as the provider's backend.
        authenticator: authenticates the requests.
        access: decides who may subscribe to a channel.
        describe: returns what the application adds to a member of a channel.

    """

    def __init__(
        self,
        provider: Signer,
        authenticator: Authenticator,
        access: ChannelAccess,
        describe: Describe,
    ) -> None:
        self._provider = provider
        self._authenticator = authenticator
        self._access = access
        self._describe = describe

    async def authorize(self, request: Request) -> Response:
        """Answer `POST auth/{provider}` by the channel rules.

        Raises:
            HTTPError: 400, the request is malformed; 401, no identity; 403, access is denied.

        """
        principal = await self._authenticator.identify(request)
        fields = await request.form()
        try:
            answer = await self._provider.authorize(fields, self._authorization(principal))
        except AuthRequestError as error:
            raise HTTPError(400, "bad_request", str(error)) from error
        if answer is None:
            raise HTTPError(
                403,
                "forbidden",
                f"{principal.user} may not subscribe to the requested channel: check its rule",
            )
        return Response.json(answer)

    def _authorization(self, principal: Principal) -> AuthorizationRequest:
        return AuthorizationRequest(
            user=principal.user,
            client=principal.client or ids.client_id(),
            seconds=min(TOKEN_SECONDS, max(0.0, principal.expires - time.time())),
            allow=partial(self._allow, principal),
            describe=partial(self._describe, principal),
        )

    async def _allow(self, principal: Principal, channel: str) -> bool:
        # A pattern such as `*` in a token must not grant the announcements for other users.
        if is_internal(channel):
            return channel == control_channel(principal.user)
        denial = await self._access.decide(principal, channel)
        if denial and denial.code == FAILED:
            raise denial.to_error()
        return denial is None
