"""Verification by PyJWT of the tokens that `verify_hs256` does not accept, with the reason."""

from collections.abc import Sequence
from typing import Any

import jwt

from realtime_bridge.server.auth.token_error import TokenError


def decode(
    token: str, keys: Sequence[bytes], *, audience: str, issuer: str, skew: int
) -> dict[str, Any]:
    """Return the claims of a token that one of the keys has signed.

    Args:
        token: a JWT in the compact form.
        keys: the HMAC keys.
        audience: the required `aud`.
        issuer: the required `iss`.
        skew: tolerated difference between two clocks, in s.

    Raises:
        TokenError: the token is expired, forged, malformed, or for another audience.

    """
    failure: Exception | None = None
    for key in keys:
        try:
            return jwt.decode(
                token,
                key,
                algorithms=["HS256"],
                audience=audience,
                issuer=issuer,
                leeway=skew,
                options={"require": ["exp", "sub", "aud", "iss"]},
            )
        except jwt.InvalidSignatureError as error:
            failure = error  # another key may have signed it
        # PyJWT parses with `json`, which raises RecursionError for deeply nested JSON.
        except (jwt.InvalidTokenError, RecursionError) as error:
            failure = error
            break
    assert failure
    raise _to_token_error(failure, audience, skew) from failure


def _to_token_error(error: Exception, audience: str, skew: int) -> TokenError:
    for kind, code, message in _REASONS:
        if isinstance(error, kind):
            return TokenError(message.format(audience=audience, skew=skew), code=code)
    return TokenError("the token is malformed: get a new token")


_REASONS: Sequence[tuple[type[Exception], str, str]] = (
    (jwt.ExpiredSignatureError, "token_expired", "the token has expired: get a new token"),
    (
        jwt.ImmatureSignatureError,
        "token_not_yet_valid",
        "the token begins over {skew} s after this server's time: correct both clocks",
    ),
    (
        jwt.InvalidSignatureError,
        "token_unknown_key",
        "the token is not signed with this server's REALTIME_SECRET: check both secrets",
    ),
    (
        jwt.InvalidAudienceError,
        "bad_token",
        "the token is for another audience: issue it for {audience!r}",
    ),
    (
        jwt.InvalidIssuerError,
        "bad_token",
        "the token is of another application: set the same REALTIME_PREFIX on both sides",
    ),
)
"""Code and message of each of PyJWT's errors; the others are malformed tokens."""
