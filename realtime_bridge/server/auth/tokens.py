"""Who a client is: tokens, signatures, and origins."""

import time
from collections.abc import Iterable
from typing import Any

import jwt
from msgspec import Struct

from realtime_bridge.model import ids
from realtime_bridge.server.auth.hs256 import verify_hs256

TOKEN_SECONDS = 600
SKEW_SECONDS = 30
AUDIENCE = "realtime"


class Principal(Struct, frozen=True, kw_only=True, gc=False):
    """Whom a connection acts for.

    Args:
        user: the user's id.
        client: the client's id: one page load, or one process.
        channels: patterns such as `job.*` that it may listen to, beside what the rules say.
        expires: when that ends, in seconds since the Unix epoch.
        issued: when it was proven who they are, likewise; what was revoked after that is refused.

    """

    user: str
    client: str | None = None
    channels: tuple[str, ...] | None = None
    expires: float = float("inf")
    issued: float = float("inf")


class TokenError(Exception):
    """The token is invalid; the message gives the reason, and nothing of the token."""

    def __init__(self, message: str, *, code: str = "bad_token") -> None:
        super().__init__(message)
        self.code = code


class Tokens:
    """Issues and verifies the JWTs (HS256) with which clients connect.

    Args:
        secret: what they are signed with.
        issuer: the application's prefix.

    """

    def __init__(self, secret: str, *, issuer: str) -> None:
        self._secret = secret
        self._key = secret.encode()
        self._issuer = issuer

    def issue(
        self,
        user: str,
        *,
        client: str | None = None,
        channels: Iterable[str] = (),
        seconds: float = TOKEN_SECONDS,
    ) -> str:
        """Return a token for `user`, good for so many seconds."""
        now = time.time()
        claims = {
            "iss": self._issuer,
            "aud": AUDIENCE,
            "sub": user,
            "cid": client or ids.client_id(),
            "iat": int(now * 1_000) / 1_000,
            "exp": int(now + seconds),
        }
        granted = list(channels)
        if granted:
            claims["channels"] = granted
        return jwt.encode(claims, self._secret, algorithm="HS256")

    def verify(self, token: str) -> Principal:
        """Return whom the token speaks of.

        Raises:
            TokenError: it is expired, forged, malformed, or for somebody else.

        """
        claims = verify_hs256(
            token, self._key, audience=AUDIENCE, issuer=self._issuer, now=time.time()
        )
        if claims is None:
            claims = self._decode(token)
        channels = claims.get("channels")
        if channels is not None and not _is_texts(channels):
            raise TokenError("the token's channels are not a list of patterns")
        return Principal(
            user=claims["sub"],
            client=claims.get("cid") or ids.client_id(),
            channels=tuple(channels) if channels is not None else None,
            expires=float(claims["exp"]),
            issued=float(claims.get("iat", 0)),
        )

    def _decode(self, token: str) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                self._secret,
                algorithms=["HS256"],
                audience=AUDIENCE,
                issuer=self._issuer,
                leeway=SKEW_SECONDS,
                options={"require": ["exp", "sub", "aud", "iss"]},
            )
        except (jwt.InvalidTokenError, RecursionError) as error:
            raise TokenError(_why(error)) from error


def _why(error: Exception) -> str:
    if isinstance(error, jwt.ExpiredSignatureError):
        return "the token has expired"
    if isinstance(error, jwt.InvalidAudienceError):
        return "the token is for another audience"
    if isinstance(error, jwt.InvalidIssuerError):
        return "the token is of another application (REALTIME_PREFIX)"
    if isinstance(error, jwt.InvalidSignatureError):
        return "the token is not signed with this server's REALTIME_SECRET"
    return "the token is malformed"


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
