"""Principals, and the tokens with which clients connect."""

import hmac
import re
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import isinf
from typing import Any, Self

import orjson

from realtime_bridge.backend.environment import load_settings
from realtime_bridge.model import ids
from realtime_bridge.model.secret_list import split_secrets
from realtime_bridge.model.user import UserId
from realtime_bridge.server.auth.principal import Principal, identity_of, kind_of
from realtime_bridge.server.auth.token_error import TokenError

TOKEN_SECONDS = 600
SKEW_SECONDS = 30
_SURROGATE = re.compile("[\ud800-\udfff]")
AUDIENCE = "realtime"

MAX_REPEATED, MAX_REPEATED_CHARACTERS = 4_096, 1_024
"""The most tokens of requests that are stored, and the longest of them: about 4 MiB."""

_HEADER = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
"""`{"alg":"HS256","typ":"JWT"}` in base64url, as PyJWT writes the header of each token."""


class Tokens:
    """Issuer and verifier of clients' tokens: JWTs signed with HS256.

    Args:
        secret: the signing key; of several, separated by commas, the first signs, all verify.
        issuer: the application's prefix, so that two applications may share a secret.

    """

    def __init__(self, secret: str, *, issuer: str) -> None:
        self._keys = [key.encode() for key in split_secrets(secret)]
        self._issuer = issuer
        self._repeated: dict[str, Principal] = {}

    @classmethod
    def from_env(cls) -> Self:
        """Create the issuer from `REALTIME_SECRET` and `REALTIME_PREFIX`.

        Raises:
            ConfigurationError: no secret is set, or the configuration is not valid.

        """
        settings = load_settings()
        return cls(settings.server_secret(), issuer=settings.prefix)

    def issue(
        self,
        user: UserId,
        *,
        client: str | None = None,
        channels: Iterable[str] = (),
        controls: Iterable[str] = (),
        seconds: float = TOKEN_SECONDS,
    ) -> str:
        """Return a token for `user`.

        Args:
            user: the user's id.
            client: the client's id; a new one by default.
            channels: patterns that the token grants, in addition to the rules.
            controls: patterns of channels whose streams and jobs the user may control.
            seconds: the token's lifetime, in s.

        Raises:
            InvalidIdentityError: the user's id is not valid.

        """
        principal = Principal(user=user, channels=_patterns(channels), controls=_patterns(controls))
        return self.exchange(principal, client, seconds=seconds)

    def exchange(self, principal: Principal, client: str | None, *, seconds: float) -> str:
        """Return another token of the same principal, for a client.

        It keeps the time of authentication: a user who exchanges a token again and again is
        still the one of the first token when access is revoked.
        """
        now = time.time()
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "aud": AUDIENCE,
            "sub": principal.user,
            "cid": client or ids.client_id(),
            "iat": int((now if isinf(principal.issued) else principal.issued) * 1_000) / 1_000,
            "exp": int(now + seconds),
        }
        optional = {
            "kind": kind_of(principal.identity),
            "rev": principal.known_revocation,
            "channels": list(principal.channels or ()) or None,
            "controls": list(principal.controls or ()) or None,
        }
        claims |= {name: claim for name, claim in optional.items() if claim is not None}
        signed = _HEADER.encode() + _base64(orjson.dumps(claims))
        return b".".join((signed, _signature(self._keys[0], signed))).decode()

    def verify(self, token: str) -> Principal:
        """Return the principal of a token.

        Raises:
            TokenError: the token is expired, forged, malformed, or for another application.

        """
        return _to_principal(self._claims(token))

    def verify_repeated(self, token: str) -> Principal:
        """Return the principal of a token that comes with many requests; see `verify`.

        What was verified stays true until the token expires; its signature costs the most.
        """
        known = self._repeated.get(token)
        if known and known.expires > time.time():
            return known
        claims = self._claims(token)
        principal = _to_principal(claims)
        # A token that names no client stands for another client each time.
        if claims.get("cid") and len(token) <= MAX_REPEATED_CHARACTERS:
            self._repeated.pop(token, None)
            if len(self._repeated) >= MAX_REPEATED:
                del self._repeated[next(iter(self._repeated))]
            self._repeated[token] = principal
        return principal

    def _claims(self, token: str) -> dict[str, Any]:
        claims = verify_hs256(
            token, self._keys, audience=AUDIENCE, issuer=self._issuer, now=time.time()
        )
        return self.decode(token) if claims is None else claims

    def decode(self, token: str) -> dict[str, Any]:
        """Return the claims of a token, checked by PyJWT.

        Raises:
            TokenError: the token is expired, forged, malformed, or for another audience.

        """
        # Most processes never need it, and `cryptography`, which it imports, would be a sixth of
        # the time that the import of the server takes.
        from realtime_bridge.server.auth.foreign_tokens import decode

        return decode(token, self._keys, audience=AUDIENCE, issuer=self._issuer, skew=SKEW_SECONDS)


def _to_principal(claims: dict[str, Any]) -> Principal:
    """Return the principal that verified claims name.

    Raises:
        TokenError: a claim is not valid.

    """
    known, client = claims.get("rev"), claims.get("cid")
    channels, controls = _claimed(claims, "channels"), _claimed(claims, "controls")
    if not (_is_text(claims["sub"]) and _is_text(client or "")):
        raise TokenError("the token's user or client is no Unicode text: issue it with texts")
    if known is not None and type(known) not in (int, float):
        raise TokenError("the token's `rev` is no number: get a new token")
    try:
        return Principal(
            user=claims["sub"],
            identity=identity_of(claims["sub"], claims.get("kind")),
            client=client or ids.client_id(),
            channels=channels,
            controls=controls,
            expires=float(claims["exp"]),
            issued=float(claims.get("iat", 0)),
            known_revocation=known,
        )
    except ValueError as error:
        raise TokenError("the token's user is not valid: get a new token") from error


def verify_hs256(
    token: str, keys: Sequence[bytes], *, audience: str, issuer: str, now: float
) -> dict[str, Any] | None:
    """Return the claims of a valid token in the exact form that `Tokens` issues, else None.

    None is no verdict: PyJWT then verifies the token and names the fault. This function takes a
    tenth of PyJWT's time, which matters when thousands of clients reconnect at once.

    Args:
        token: a JWT in the compact form.
        keys: the HMAC keys; one of them has to have signed the token.
        audience: the required `aud`.
        issuer: the required `iss`.
        now: Unix time, in s.

    """
    signed, _, signature = token.rpartition(".")
    if not signed.startswith(_HEADER) or not token.isascii():
        return None
    if not _is_signed(keys, signed.encode(), signature.encode()):
        return None
    try:
        # Two `=` pad any length: the decoder ignores padding beyond what it needs.
        claims = orjson.loads(urlsafe_b64decode(signed[len(_HEADER) :] + "=="))
    except ValueError:
        return None
    return claims if _hold(claims, audience, issuer, now) else None


def _is_signed(keys: Sequence[bytes], signed: bytes, signature: bytes) -> bool:
    # The comparison takes the same time for every signature, so its duration reveals no byte of the
    # expected one.
    return any(hmac.compare_digest(_signature(key, signed), signature) for key in keys)


def _signature(key: bytes, signed: bytes) -> bytes:
    code = _started(key).copy()
    code.update(signed)
    return _base64(code.digest())


@lru_cache(maxsize=16)
def _started(key: bytes) -> hmac.HMAC:
    """Return a code of a key to copy; to look up the hash function again takes half of the time."""
    return hmac.new(key, digestmod="sha256")


def _base64(data: bytes) -> bytes:
    """Return base64url without its padding, as JWTs carry it (RFC 7515 §2)."""
    return urlsafe_b64encode(data).rstrip(b"=")


def _hold(claims: Any, audience: str, issuer: str, now: float) -> bool:
    """Return whether the claims have the issued types, the right parties, and are valid now."""
    # Exact types: bool is an int in Python, and a list is a valid `aud`; PyJWT decides on those.
    return (
        isinstance(claims, dict)
        and claims.get("aud") == audience
        and claims.get("iss") == issuer
        and type(claims.get("sub")) is str
        and type(claims.get("exp")) is int
        and claims["exp"] > now
        and type(claims.get("iat")) in (int, float)
        and claims["iat"] <= now + SKEW_SECONDS
        and "nbf" not in claims
    )


def _patterns(given: Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _claimed(claims: dict[str, Any], name: str) -> tuple[str, ...] | None:
    """Return the patterns of a claim.

    Raises:
        TokenError: it is no list of texts.

    """
    patterns = claims.get(name)
    if patterns is not None and not _is_texts(patterns):
        raise TokenError(f"the token's {name} are not a list of patterns: issue it with a list")
    return None if patterns is None else tuple(patterns)


def _is_texts(value: object) -> bool:
    """Return whether a value is a list of texts; PyJWT accepts half of a surrogate pair."""
    return isinstance(value, list) and all(map(_is_text, value))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and (value.isascii() or not _SURROGATE.search(value))
