"""Who a client is: tokens, signatures, and origins."""

import hmac
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import jwt
from msgspec import Struct

from realtime_bridge import identifiers
from realtime_bridge.addresses import is_loopback
from realtime_bridge.protocol.calls import sign
from realtime_bridge.server.plain import plain_claims

TOKEN_SECONDS = 600
SKEW_SECONDS = 30
AUDIENCE = "realtime"

SIGNATURE_SECONDS = 300
"""How far a signed call's timestamp may be from now, either way."""

REMEMBERED_SIGNATURES = 100_000


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
    """The token is not good; it says why, and shows nothing of it."""


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
            "cid": client or identifiers.client_id(),
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
        claims = plain_claims(
            token, self._key, audience=AUDIENCE, issuer=self._issuer, now=time.time()
        )
        if claims is None:
            claims = self._decode(token)
        channels = claims.get("channels")
        if channels is not None and not _is_texts(channels):
            raise TokenError("the token's channels are not a list of patterns")
        return Principal(
            user=claims["sub"],
            client=claims.get("cid") or identifiers.client_id(),
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


class SignatureError(Exception):
    """A signed call is not accepted; `code` says why in a word."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Signatures:
    """Checks the calls of workers, and lets no signed body in twice.

    It remembers a bounded number of signatures. When it has to forget one that could still be
    repeated, it accepts nothing any more that is as old as that one was.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._not_before = 0.0

    def check(self, timestamp: str, signature: str, body: bytes, *, now: float) -> None:
        """Accept a call signed with our secret within 300 s of `now` (Unix seconds).

        Raises:
            SignatureError: `bad_timestamp`, `bad_signature`, or `old_timestamp`.

        """
        try:
            signed_at = float(timestamp)
        except ValueError:
            raise SignatureError(
                "bad_timestamp", "Realtime-Timestamp is the Unix time in seconds"
            ) from None
        expected = sign(self._secret, timestamp, body)
        if not hmac.compare_digest(expected.encode(), signature.lower().encode()):
            raise SignatureError(
                "bad_signature",
                "Realtime-Signature is not hex HMAC-SHA256(REALTIME_SECRET, timestamp.body): "
                "do both sides have the same secret?",
            )
        if not abs(now - signed_at) <= SIGNATURE_SECONDS:
            raise SignatureError(
                "old_timestamp",
                f"Realtime-Timestamp is {abs(now - signed_at):.0f} s away from this server's "
                f"clock, over the limit of {SIGNATURE_SECONDS} s: sign anew, check both clocks",
            )

    def once(self, timestamp: str, signature: str, *, now: float) -> None:
        """Let each checked signature in once.

        Raises:
            SignatureError: `replayed`.

        """
        signed_at, signature = float(timestamp), signature.lower()
        if signature in self._seen or signed_at <= self._not_before:
            raise SignatureError(
                "replayed", "This signed body was received already: sign anew to publish anew"
            )
        self._seen[signature] = signed_at
        while self._seen and next(iter(self._seen.values())) < now - SIGNATURE_SECONDS:
            self._seen.popitem(last=False)
        if len(self._seen) > REMEMBERED_SIGNATURES:
            _, forgotten = self._seen.popitem(last=False)
            self._not_before = max(self._not_before, forgotten)

    def forgive(self, signature: str) -> None:
        """Let a signed body in once more, because nothing came of it."""
        self._seen.pop(signature.lower(), None)


def origin_allowed(origin: str | None, host: str | None, allowed: Iterable[str]) -> bool:
    """Tell whether a page of `origin` may connect: one of the same host, or one listed.

    Programs send no origin; browsers always do where it matters.
    """
    if origin is None:
        return True
    if host and _host(origin) == host.lower():
        return True
    return origin in allowed


def from_here(origin: str | None) -> bool:
    """Tell whether a request is a program's, or a page's that came from this machine."""
    if origin is None:
        return True
    try:
        return is_loopback(urlsplit(origin).hostname or "")
    except ValueError:
        return False


def _host(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


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
