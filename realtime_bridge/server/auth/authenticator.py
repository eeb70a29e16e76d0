"""Authentication of requests: tokens, the application's session, origins."""

import time
from collections.abc import Awaitable, Callable, Sequence

from realtime_bridge.model import ids
from realtime_bridge.server.auth.origins import from_here, origin_allowed
from realtime_bridge.server.auth.revocations import Revocations
from realtime_bridge.server.auth.rules import call_maybe_async
from realtime_bridge.server.auth.tokens import TOKEN_SECONDS, Principal, TokenError, Tokens
from realtime_bridge.server.http.request import HTTPError, Request

Identity = Principal | str | int | None
Authenticate = Callable[[Request], Identity] | Callable[[Request], Awaitable[Identity]]


class Authenticator:
    """Authentication of requests and tokens.

    Args:
        tokens: verifies the tokens of clients.
        revocations: the revocations of access.
        origins: the origins of other hosts whose pages may connect.
        authenticate: the application's own authentication of a request, if it has one.
        dev: whether `?userId=` names the user of a page of this machine.

    """

    def __init__(
        self,
        tokens: Tokens,
        revocations: Revocations,
        *,
        origins: Sequence[str],
        authenticate: Authenticate | None,
        dev: bool,
    ) -> None:
        self._tokens = tokens
        self._revocations = revocations
        self._origins = origins
        self._authenticate = authenticate
        self._dev = dev

    def verify(self, token: str) -> Principal:
        """Return the principal of a client's token.

        Raises:
            TokenError: the token is invalid, or access was revoked.

        """
        principal = self._tokens.verify(token)
        if self._revocations and not self._revocations.allow(principal):
            raise TokenError("access was revoked: sign in again", code="revoked")
        return principal

    async def identify(self, request: Request) -> Principal:
        """Return the principal of a request, by its token or by the application's session.

        Raises:
            HTTPError: 401, there is none; 403, the page may not connect.

        """
        self.check_origin(request)
        token = _bearer(request)
        if token is not None:
            return self._verify_bearer(token)
        principal = self.development_user(request) or await self._ask_application(request)
        if principal is None:
            raise HTTPError(401, "not_signed_in", "Sign in first, or send a token")
        return principal

    def authorize_upgrade(self, request: Request) -> Principal | None:
        """Authorize an upgrade; return the principal where it is known before a token arrives.

        Raises:
            HTTPError: the client may not connect.

        """
        self.check_origin(request)
        return self.development_user(request) if request.scope.get("query_string") else None

    def check_origin(self, request: Request) -> None:
        """Check that the page of a request may connect.

        Raises:
            HTTPError: 403, the page may not connect.

        """
        origin, host = request.headers.get("origin"), request.headers.get("host")
        if origin is not None and not origin_allowed(origin, host, self._origins):
            raise HTTPError(
                403,
                "bad_origin",
                f"Pages of {origin[:100]} may not connect: name it in REALTIME_ORIGINS",
            )

    def development_user(self, request: Request) -> Principal | None:
        """Return the user of `?userId=`, with `--dev` alone and for pages of this machine.

        A page of another host whose name resolves to this machine (DNS rebinding) is rejected.

        Raises:
            HTTPError: 401, `userId` is not accepted here.

        """
        user = request.query_params.get("userId")
        if user is None:
            return None
        if not self._dev or not from_here(request.headers.get("origin")):
            raise HTTPError(
                401, "no_token", "userId in the URL proves nothing: connect with a token"
            )
        return Principal(user=user, client=ids.client_id())

    def _verify_bearer(self, token: str) -> Principal:
        try:
            return self.verify(token)
        except TokenError as error:
            now_ms = time.time_ns() // 1_000_000
            raise HTTPError(401, error.code, str(error), time=now_ms) from error

    async def _ask_application(self, request: Request) -> Principal | None:
        if self._authenticate is None:
            return None
        identity = await call_maybe_async(self._authenticate, request)
        if isinstance(identity, Principal):
            return identity
        # True would become the user "True", the same for all users.
        if identity in (None, "") or isinstance(identity, bool):
            return None
        return Principal(
            user=str(identity),
            client=ids.client_id(),
            expires=time.time() + TOKEN_SECONDS,
        )


def _bearer(request: Request) -> str | None:
    """Return the bearer token of the `Authorization` header, or None."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token else None
