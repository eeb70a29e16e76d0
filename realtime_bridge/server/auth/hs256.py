"""Fast verification of tokens in the exact form that `Tokens` issues.

It takes a tenth of PyJWT's time, which matters when thousands of clients reconnect at once.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Any

import orjson

_HEADER = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
"""`{"alg":"HS256","typ":"JWT"}` in base64url, as PyJWT writes the header of each token."""


def verify_hs256(
    token: str, keys: Sequence[bytes], *, audience: str, issuer: str, now: float
) -> dict[str, Any] | None:
    """Return the claims of a valid token in the usual form, else None.

    None is no verdict: PyJWT then verifies the token and names the fault.

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
    if not any(_is_signed_by(key, signed.encode(), signature.encode()) for key in keys):
        return None
    try:
        # Two `=` pad any length: the decoder ignores padding beyond what it needs.
        claims = orjson.loads(urlsafe_b64decode(signed[len(_HEADER) :] + "=="))
    except ValueError:
        return None
    return claims if _hold(claims, audience, issuer, now) else None


def _is_signed_by(key: bytes, signed: bytes, signature: bytes) -> bool:
    digest = hmac.digest(key, signed, "sha256")
    # JWTs carry base64url without its padding (RFC 7515 §2). The comparison takes the same time
    # for every signature, so its duration reveals no byte of the expected one.
    return hmac.compare_digest(urlsafe_b64encode(digest).rstrip(b"="), signature)


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
        and claims["iat"] <= now
        and "nbf" not in claims
    )
