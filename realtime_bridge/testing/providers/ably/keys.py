"""Authorization at a local Ably: its key, the tokens it issued, and JWTs signed with the key."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jwt
import orjson

from realtime_bridge.testing.providers.ably.grant import (
    EVERYTHING,
    Grant,
    intersection,
    now,
    parse_capability,
)
from realtime_bridge.testing.providers.ably.protocol import AblyError

CLOCK_MILLISECONDS = 120_000
"""Largest difference between a TokenRequest's timestamp and the server's clock (Ably docs)."""

TTL_MILLISECONDS = 3_600_000
"""Lifetime of a token whose request has no `ttl` (Ably specification TK2a: 60 minutes)."""

MIN_NONCE = 16
"""Fewest characters of a TokenRequest's nonce (Ably specification TE2)."""

AppState = Literal["enabled", "disabled", "over its quota"]


class Keys:
    """The single key of a local Ably, and the tokens that it issued.

    Args:
        key: `APPID.KEYID:SECRET`.

    """

    def __init__(self, key: str) -> None:
        name, _, self._secret = key.partition(":")
        self.name: str = name
        self.state: AppState = "enabled"
        self.capability = EVERYTHING
        self.is_revocable = False
        """True if tokens of the key can be revoked; at Ably, a choice in the dashboard."""
        self._revoked: dict[str, float] = {}
        self._nonces: dict[str, int] = {}
        self._tokens: dict[str, Grant] = {}

    def by_header(self, header: str) -> Grant:
        """Return the grant of an `Authorization` header.

        Raises:
            AblyError: the credentials are missing, wrong or expired.

        """
        scheme, _, credentials = header.partition(" ")
        if scheme.lower() == "basic":
            return self.by_key(_from_base64(credentials) or "")
        if scheme.lower() == "bearer":
            # The SDKs send base64 of any token; other clients send a JWT as it is.
            is_jwt = credentials.count(".") == 2  # noqa: PLR2004 -- a JWT has three parts
            return self.by_token(credentials if is_jwt else _from_base64(credentials) or "")
        raise AblyError(40101, 401, "No authentication information provided")

    def by_key(self, key: str) -> Grant:
        """Return the grant of a key.

        Raises:
            AblyError: 40400, the application is unknown; 40101, the key is wrong.

        """
        name, _, secret = key.partition(":")
        if name.partition(".")[0] != self.name.partition(".")[0]:
            raise AblyError(40400, 404, "No application found with id")
        if not hmac.compare_digest(f"{name}:{secret}", f"{self.name}:{self._secret}"):
            raise AblyError(40101, 401, "Invalid credentials")
        self._check_state()
        return Grant(capability=self.capability)

    def by_token(self, token: str) -> Grant:
        """Return the grant of an issued token, or of a JWT that was signed with the key.

        Raises:
            AblyError: the token is unknown, wrong or expired.

        """
        grant = self._tokens.get(token) or self._by_jwt(token)
        grant.check_time()
        for target, moment in self._revoked.items():
            # A JWT has its time in whole seconds.
            if grant.is_target(target) and (grant.issued or 0) < moment - moment % 1_000:
                raise AblyError(40141, 401, "Token revoked")
        self._check_state()
        return grant

    def require_key(self, header: str) -> None:
        """Check the credentials of a revocation, which a token cannot give.

        Raises:
            AblyError: 40162, it is not the key; 40164, the key has no revocable tokens.

        """
        if not header.lower().startswith("basic"):
            raise AblyError(40162, 401, "Revocation needs basic authentication with the key")
        self.by_header(header)
        if not self.is_revocable:
            raise AblyError(40164, 401, "Token revocation is not enabled for this key")

    def revoke(self, targets: Sequence[str]) -> None:
        """Revoke the tokens issued so far."""
        self._revoked |= dict.fromkeys(targets, now())

    def _check_state(self) -> None:
        if self.state == "disabled":
            raise AblyError(40110, 401, "Account disabled")
        if self.state == "over its quota":
            raise AblyError(40112, 401, "Account blocked (message limits exceeded)")

    def exchange(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Issue the TokenDetails for a signed TokenRequest.

        Raises:
            AblyError: the request is malformed, too old, signed wrong, or was used before.

        """
        fields = {name: request.get(name) for name in _SIGNED_FIELDS}
        # The mac covers the capability's text as received: the SDKs space it differently.
        text = "".join(f"{'' if value is None else value}\n" for value in fields.values())
        if not hmac.compare_digest(self._mac(text), str(request.get("mac"))):
            raise AblyError(40101, 401, "The token request's mac does not match its fields")
        if abs(float(fields["timestamp"] or 0) - now()) > CLOCK_MILLISECONDS:
            raise AblyError(40104, 401, "Timestamp not current")
        self._expire()
        nonce = str(fields["nonce"] or "")
        if len(nonce) < MIN_NONCE or nonce in self._nonces:
            raise AblyError(40105, 401, "Nonce value replayed, or too short")
        self._nonces[nonce] = now()
        self._check_state()
        return self._issue(fields)

    def _expire(self) -> None:
        # A nonce matters while its timestamp is accepted: at most that long ago or ahead.
        before = now() - 2 * CLOCK_MILLISECONDS
        self._nonces = {one: used for one, used in self._nonces.items() if used > before}
        self._tokens = {
            one: grant for one, grant in self._tokens.items() if (grant.expires or 0) > now()
        }

    def _issue(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        issue_time = now()
        capability = intersection(parse_capability(fields["capability"]), self.capability)
        expires = issue_time + int(fields["ttl"] or TTL_MILLISECONDS)
        token = f"{self.name.partition('.')[0]}.{secrets.token_urlsafe(24)}"
        self._tokens[token] = Grant(
            capability=capability,
            key=self.capability,
            client=fields["clientId"],
            expires=expires,
            issued=issue_time,
        )
        details = {
            "token": token,
            "keyName": self.name,
            "issued": issue_time,
            "expires": expires,
            "capability": orjson.dumps(capability).decode(),
        }
        return details | ({"clientId": fields["clientId"]} if fields["clientId"] else {})

    def _by_jwt(self, token: str) -> Grant:
        # Ably docs, JWT: the header `kid` is the key's name, claims begin with `x-ably-`.
        try:
            if jwt.get_unverified_header(token).get("kid") != self.name:
                raise AblyError(40400, 404, "No key found with that name")
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=["HS256"],
                options={"require": ["iat", "exp"], "verify_iat": False},
            )
        except jwt.ExpiredSignatureError:
            raise AblyError(40142, 401, "Token expired") from None
        except jwt.InvalidTokenError as error:
            raise AblyError(40144, 401, f"Token unrecognized: {error}") from None
        return Grant(
            capability=parse_capability(claims.get("x-ably-capability")),
            key=self.capability,
            client=claims.get("x-ably-clientId"),
            expires=claims["exp"] * 1000,
            issued=claims["iat"] * 1000,
            claims={
                name.removeprefix(_CLAIM): str(claim)
                for name, claim in claims.items()
                if name.startswith(_CLAIM)
            },
        )

    def _mac(self, text: str) -> str:
        digest = hmac.new(self._secret.encode(), text.encode(), hashlib.sha256).digest()
        return base64.b64encode(digest).decode()


_CLAIM = "ably.channel."
"""Start of the claims that Ably adds to messages of a channel (Ably docs, JWT)."""

_SIGNED_FIELDS = ("keyName", "ttl", "capability", "clientId", "timestamp", "nonce")
"""Fields that a TokenRequest's mac covers, in this order (Ably specification RSA9)."""


def _from_base64(text: str) -> str | None:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
