"""Tokens exactly as we issue them, verified in a tenth of the time that PyJWT takes."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import orjson

_HEADER = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
"""`{"alg":"HS256","typ":"JWT"}`, which PyJWT begins each of our tokens with."""


def verify_hs256(
    token: str, secret: bytes, *, audience: str, issuer: str, now: float
) -> dict[str, Any] | None:
    """Return the claims of a token that is plainly good; None where that takes a closer look.

    A storm of clients is nothing but tokens, and all of them are of this form. Whatever is only
    slightly different, expired or forged, is left to PyJWT, which also knows what to say of it.
    """
    signed, _, signature = token.rpartition(".")
    if not signed.startswith(_HEADER) or not token.isascii():
        return None
    digest = hmac.digest(secret, signed.encode(), "sha256")
    if not hmac.compare_digest(urlsafe_b64encode(digest).rstrip(b"="), signature.encode()):
        return None
    try:
        claims = orjson.loads(urlsafe_b64decode(signed[len(_HEADER) :] + "=="))
    except ValueError:
        return None
    return claims if _hold(claims, audience, issuer, now) else None


def _hold(claims: Any, audience: str, issuer: str, now: float) -> bool:
    """Tell whether the claims are ours, for us, and of now."""
    return (
        isinstance(claims, dict)
        and claims.get("aud") == audience
        and claims.get("iss") == issuer
        and type(claims.get("sub")) is str
        and type(claims.get("exp")) is int
        and claims["exp"] > now
        and type(claims.get("iat")) in (int, float)
        and claims["iat"] <= now
        and "nbf" not in claims
    )
