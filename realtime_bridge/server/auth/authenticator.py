"""Authentication of requests: tokens, the application's session, origins."""

import time
from collections.abc import Awaitable, Callable
from math import isinf
from typing import Any

from msgspec.structs import replace

from realtime_bridge.errors import InvalidIdentityError
from realtime_bridge.model import ids
from realtime_bridge.model.user import UserId
from realtime_bridge.server.auth.application import ApplicationFunction
from realtime_bridge.server.auth.local_guard import LocalGuard
from realtime_bridge.server.auth.principal import Principal
from realtime_bridge.server.auth.revocations import Revocations
from realtime_bridge.server.auth.token_error import TokenError
from realtime_bridge.server.auth.tokens import TOKEN_SECONDS, Tokens
from realtime_bridge.server.http.origins import Origins, from_here
from realtime_bridge.server.http.request import HTTPError, Request

Identity = Principal | UserId | None
Authenticate = Callable[[Request], Identity] | Callable[[Request], Awaitable[Identity]]

_OTHER_SITES = ("cross-site", "same-site")
"""Values of `Sec-Fetch-Site` for requests of pages of other origins."""


class Authenticator:
    """Authentication of requests and tokens.

    Args:
        tokens: verifies the tokens of clients.
        revocations: the revocations of access.
        origins: the origins whose pages may connect.
        authenticate: the application's own authentication of a request, if it has one.
        guard: the guard of a development server, where `?userId=` names the user.

    """

    def __init__(
        self,
        tokens: Tokens,
        revocations: Revocations,
        *,
        origins: Origins,
        authenticate: Authenticate | None,
        guard: LocalGuard | None,
    ) -> None:
        self._tokens = tokens
        self._revocations = revocations
        self.origins: Origins = origins
        self._application = (
            ApplicationFunction(authenticate, "authenticate", convert=_to_principal)
            if authenticate
            else None
        )
        self.guard: LocalGuard | None = guard
        """Guard of a development server, which each request has to pass."""

    def verify(self, token: str) -> Principal:
        """Return the principal of a client's token.

        Raises:
            TokenError: the token is invalid, or access was revoked.

        """
        return self._check_revocations(self._tokens.verify(token))

    async def identify(self, request: Request) -> Principal:
        """Return the principal of a request, by its token or by the application's session.

        Raises:
            HTTPError: 401, there is none; 403, the page may not connect.

        """
        principal = (
            self.identify_by_token(request)
            or self.development_user(request)
            or await self._ask_application(request)
        )
        if principal is None:
            raise HTTPError(401, "not_signed_in", "Sign in first, or send a token")
        return principal

    def identify_by_token(self, request: Request) -> Principal | None:
        """Return the principal of a request's token; None for a request without a token.

        Raises:
            HTTPError: 401, the token is not valid; 403, the page may not connect.

        """
        self.check_origin(request)
        token = _token(request)
        return None if token is None else self._verify(token)

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
        origin = request.headers.get("origin")
        # Programs send no Origin; browsers send it with each POST, upgrade and CORS request.
        if origin is not None:
            self.origins.check(origin, request.headers.get("host"))
        # Without CORS, as for an image, a browser sends cookies and no Origin: the page could not
        # read the answer, but open streams in the name of its visitor.
        elif request.headers.get("sec-fetch-site") in _OTHER_SITES:
            raise HTTPError(
                403, "bad_origin", "Pages of other sites may not connect: use fetch with CORS"
            )

    def development_user(self, request: Request) -> Principal | None:
        """Return the user of `?userId=`, with `--dev` alone and for pages of this machine.

        Raises:
            HTTPError: 401, `userId` is not accepted here; 400, it is not valid.

        """
        user = request.query_params.get("userId")
        if user is None:
            return None
        if self.guard is None or not from_here(request.headers.get("origin")):
            raise HTTPError(
                401, "no_token", "userId in the URL proves nothing: connect with a token"
            )
        try:
            principal = Principal(user=user, client=ids.client_id())
        except InvalidIdentityError as error:
            raise HTTPError(400, "bad_user", str(error)) from error
        return replace(principal, known_revocation=self._revocations.latest)

    def _check_revocations(self, principal: Principal) -> Principal:
        if not self._revocations.allow(principal):
            raise TokenError("access was revoked: sign in again", code="revoked")
        return principal

    def _verify(self, token: str) -> Principal:
        try:
            return self._check_revocations(self._tokens.verify_repeated(token))
        except TokenError as error:
            now_ms = time.time_ns() // 1_000_000
            raise HTTPError(401, error.code, str(error), time=now_ms) from error

    async def _ask_application(self, request: Request) -> Principal | None:
        if self._application is None:
            return None
        # Read first: a revocation during the call concerns the answer.
        known = self._revocations.latest
        try:
            principal: Principal | None = await self._application.call(request)
        except InvalidIdentityError as error:
            raise HTTPError(500, "bad_identity", f"authenticate: {error}") from error
        except Exception as error:
            raise HTTPError(500, "internal", "The server failed: try again") from error
        if principal and principal.known_revocation is None and isinf(principal.issued):
            return replace(principal, known_revocation=known)
        return principal


def _to_principal(identity: Any) -> Principal | None:
    """Return the principal of what the application's `authenticate` returned.

    Raises:
        InvalidIdentityError: it is no id of a user.

    """
    if isinstance(identity, Principal) or not identity:
        return identity or None
    expires = time.time() + TOKEN_SECONDS
    return Principal(user=identity, client=ids.client_id(), expires=expires)


def _token(request: Request) -> str | None:
    """Return the token of `Realtime-Token`, else the bearer token of `Authorization`, or None."""
    # A proxy on the way may use `Authorization` for credentials of its own.
    if own := request.headers.get("realtime-token", "").strip():
        return own
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token else None
