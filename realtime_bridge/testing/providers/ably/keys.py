"""Authorization at a local Ably: its key, the tokens it issued, and JWTs signed with the key."""

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import jwt
import orjson

from realtime_bridge.testing.providers.ably.protocol import AblyError, Message

CLOCK_MILLISECONDS = 120_000
"""Largest difference between a TokenRequest's timestamp and the server's clock (Ably docs)."""

TTL_MILLISECONDS = 3_600_000
"""Lifetime of a token whose request has no `ttl` (Ably specification TK2a: 60 minutes)."""

MIN_NONCE = 16
"""Fewest characters of a TokenRequest's nonce (Ably specification TE2)."""

AppState = Literal["enabled", "disabled", "over its quota"]

Capability = Mapping[str, list[str]]

EVERYTHING: Capability = {"*": ["*"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Permissions of the bearer of a key or token.

    Args:
        capability: the operations by channel, or by a pattern of channels.
        key: the capability of the key that signed the token; an upper bound.
        client: the client id of all messages; None permits no client id, `*` permits any.
        expires: the expiry in milliseconds since the Unix epoch; None is never.
        issued: the time of issue in milliseconds since the Unix epoch; None for a key.

    """

    capability: Capability
    key: Capability = field(default_factory=lambda: EVERYTHING)
    client: str | None = None
    expires: float | None = None
    issued: float | None = None

    def is_target(self, target: str) -> bool:
        """Return whether a target of a revocation means this token: `clientId:` or `channel:`."""
        kind, _, value = target.partition(":")
        return self.issued is not None and (
            (kind == "clientId" and value == self.client)
            or (kind == "channel" and value in self.capability)
        )

    def allows(self, operation: str, channel: str) -> bool:
        """Return whether the grant covers this operation on this channel."""
        return all(_allows(one, operation, channel) for one in (self.capability, self.key))

    def require(self, operation: str, channel: str) -> None:
        """Check that the grant covers an operation.

        Raises:
            AblyError: 40142, the token has expired; 40160, the operation is not covered.

        """
        self.check_time()
        if not self.allows(operation, channel):
            raise AblyError(
                40160, 401, f"Channel denied access based on given capability: {channel}"
            )

    def check_time(self) -> None:
        """Check that the grant has not expired.

        Raises:
            AblyError: 40142, the token has expired.

        """
        if self.expires is not None and self.expires <= now():
            raise AblyError(40142, 401, "Token expired")

    def set_client_id(self, message: Message) -> None:
        """Set a message's client id to that of the grant.

        Raises:
            AblyError: 40012, the message has the client id of another client.

        """
        client = message.get("clientId")
        if client and self.client not in (None, "*", client):
            raise AblyError(40012, 400, "Mismatched clientId in the message")
        if self.client and self.client != "*":
            message["clientId"] = self.client


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
        capability = _intersection(_parse_capability(fields["capability"]), self.capability)
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
            capability=_parse_capability(claims.get("x-ably-capability")),
            key=self.capability,
            client=claims.get("x-ably-clientId"),
            expires=claims["exp"] * 1000,
            issued=claims["iat"] * 1000,
        )

    def _mac(self, text: str) -> str:
        digest = hmac.new(self._secret.encode(), text.encode(), hashlib.sha256).digest()
        return base64.b64encode(digest).decode()


def now() -> int:
    """Return the time in milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


_SIGNED_FIELDS = ("keyName", "ttl", "capability", "clientId", "timestamp", "nonce")
"""Fields that a TokenRequest's mac covers, in this order (Ably specification RSA9)."""


def _covers(resource: str, channel: str) -> bool:
    """Return whether a resource covers a channel.

    A segment `*` stands for any segment; at the end it stands for one segment or more.
    """
    if resource == "*":
        return True
    pattern, segments = resource.split(":"), channel.split(":")
    if pattern[-1] == "*" and len(segments) >= len(pattern):
        pattern, segments = pattern[:-1], segments[: len(pattern) - 1]
    return len(pattern) == len(segments) and all(
        one in ("*", other) for one, other in zip(pattern, segments, strict=True)
    )


def _allows(capability: Capability, operation: str, channel: str) -> bool:
    return any(
        _covers(resource, channel) and not {operation, "*"}.isdisjoint(operations)
        for resource, operations in capability.items()
    )


def _intersection(requested: Capability, limit: Capability) -> Capability:
    """Return the part of a requested capability that the key's own capability covers.

    Raises:
        AblyError: 40160, the key covers no part.

    """
    common = {
        resource: [one for one in operations if _allows(limit, one, resource)]
        for resource, operations in requested.items()
    }
    if not any(common.values()):
        raise AblyError(40160, 401, "The key's capability covers none of the requested one")
    return {resource: operations for resource, operations in common.items() if operations}


def _parse_capability(text: object) -> Capability:
    if not text:
        return EVERYTHING
    try:
        capability = orjson.loads(str(text))
    except orjson.JSONDecodeError:
        capability = None
    if not isinstance(capability, dict) or not all(
        isinstance(operations, list) for operations in capability.values()
    ):
        raise AblyError(40000, 400, "A capability is a JSON object of lists")
    return capability


def _from_base64(text: str) -> str | None:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
