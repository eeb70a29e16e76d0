"""Who may do what at a local Ably: its key, the tokens it issued, and those that others signed."""

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import jwt
import orjson

from realtime_bridge.testing.providers.ably_wire import RefusedByAbly

CLOCK_MILLISECONDS = 120_000
"""How far a TokenRequest's timestamp may be from our clock."""

TTL_MILLISECONDS = 3_600_000
MIN_NONCE = 16

AppState = Literal["enabled", "disabled", "over its quota"]

Capability = Mapping[str, list[str]]

EVERYTHING: Capability = {"*": ["*"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What the bearer of a key or token may do.

    Args:
        capability: operations by channel, or by a pattern of channels.
        key: what the key allows that stands behind it: nothing goes beyond.
        client: the client id that all it sends has; None is anyone's, `*` is any.
        expires: in milliseconds since the Unix epoch; None is never.

    """

    capability: Capability
    key: Capability = field(default_factory=lambda: EVERYTHING)
    client: str | None = None
    expires: float | None = None

    def allows(self, operation: str, channel: str) -> bool:
        """Tell whether it covers this operation on this channel."""
        return all(_allows(one, operation, channel) for one in (self.capability, self.key))

    def require(self, operation: str, channel: str) -> None:
        """Accept an operation that is covered.

        Raises:
            RefusedByAbly: 40142, the token has expired; 40160, it is not.

        """
        self.check_time()
        if not self.allows(operation, channel):
            raise RefusedByAbly(
                40160, 401, f"Channel denied access based on given capability: {channel}"
            )

    def check_time(self) -> None:
        """Accept a grant that still lasts.

        Raises:
            RefusedByAbly: 40142, it has expired.

        """
        if self.expires is not None and self.expires <= now():
            raise RefusedByAbly(40142, 401, "Token expired")


class Keys:
    """The one key of a local Ably, and what was made with it.

    Args:
        key: `APPID.KEYID:SECRET`.

    """

    def __init__(self, key: str) -> None:
        self.name, _, self._secret = key.partition(":")
        self.state: AppState = "enabled"
        self.capability = EVERYTHING
        self._nonces: dict[str, int] = {}
        self._tokens: dict[str, Grant] = {}

    def by_header(self, header: str) -> Grant:
        """Return what an `Authorization` header grants.

        Raises:
            RefusedByAbly: it is missing, wrong, or expired.

        """
        scheme, _, credentials = header.partition(" ")
        if scheme.lower() == "basic":
            return self.by_key(_from_base64(credentials) or "")
        if scheme.lower() == "bearer":
            bare = credentials.count(".") == 2  # noqa: PLR2004 -- a JWT has three parts
            return self.by_token(credentials if bare else _from_base64(credentials) or "")
        raise RefusedByAbly(40101, 401, "No authentication information provided")

    def by_key(self, key: str) -> Grant:
        """Return what a key grants.

        Raises:
            RefusedByAbly: it is not ours.

        """
        name, _, secret = key.partition(":")
        if name.partition(".")[0] != self.name.partition(".")[0]:
            raise RefusedByAbly(40400, 404, "No application found with id")
        if not hmac.compare_digest(f"{name}:{secret}", f"{self.name}:{self._secret}"):
            raise RefusedByAbly(40101, 401, "Invalid credentials")
        self._check_state()
        return Grant(capability=self.capability)

    def by_token(self, token: str) -> Grant:
        """Return what a token grants, ours or a JWT that was signed with our key.

        Raises:
            RefusedByAbly: it is neither, or has expired.

        """
        grant = self._tokens.get(token) or self._by_jwt(token)
        grant.check_time()
        self._check_state()
        return grant

    def _check_state(self) -> None:
        if self.state == "disabled":
            raise RefusedByAbly(40110, 401, "Account disabled")
        if self.state == "over its quota":
            raise RefusedByAbly(40112, 401, "Account blocked (message limits exceeded)")

    def exchange(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the TokenDetails for a signed TokenRequest.

        Raises:
            RefusedByAbly: the request is malformed, too old, signed wrong, or was used before.

        """
        fields = {name: request.get(name) for name in _SIGNED}
        text = "".join(f"{'' if value is None else value}\n" for value in fields.values())
        if not hmac.compare_digest(self._mac(text), str(request.get("mac"))):
            raise RefusedByAbly(40101, 401, "The token request's mac does not match its fields")
        if abs(float(fields["timestamp"] or 0) - now()) > CLOCK_MILLISECONDS:
            raise RefusedByAbly(40104, 401, "Timestamp not current")
        self._forget()
        nonce = str(fields["nonce"] or "")
        if len(nonce) < MIN_NONCE or nonce in self._nonces:
            raise RefusedByAbly(40105, 401, "Nonce value replayed, or too short")
        self._nonces[nonce] = now()
        self._check_state()
        return self._issue(fields)

    def _forget(self) -> None:
        before = now() - 2 * CLOCK_MILLISECONDS
        self._nonces = {one: used for one, used in self._nonces.items() if used > before}
        self._tokens = {
            one: grant for one, grant in self._tokens.items() if (grant.expires or 0) > now()
        }

    def _issue(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        issued = now()
        capability = _within(_capability(fields["capability"]), self.capability)
        expires = issued + int(fields["ttl"] or TTL_MILLISECONDS)
        token = f"{self.name.partition('.')[0]}.{secrets.token_urlsafe(24)}"
        self._tokens[token] = Grant(
            capability=capability,
            key=self.capability,
            client=fields["clientId"],
            expires=expires,
        )
        details = {
            "token": token,
            "keyName": self.name,
            "issued": issued,
            "expires": expires,
            "capability": orjson.dumps(capability).decode(),
        }
        return details | ({"clientId": fields["clientId"]} if fields["clientId"] else {})

    def _by_jwt(self, token: str) -> Grant:
        try:
            if jwt.get_unverified_header(token).get("kid") != self.name:
                raise RefusedByAbly(40400, 404, "No key found with that name")
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=["HS256"],
                options={"require": ["iat", "exp"], "verify_iat": False},
            )
        except jwt.ExpiredSignatureError:
            raise RefusedByAbly(40142, 401, "Token expired") from None
        except jwt.InvalidTokenError as error:
            raise RefusedByAbly(40144, 401, f"Token unrecognized: {error}") from None
        return Grant(
            capability=_capability(claims.get("x-ably-capability")),
            key=self.capability,
            client=claims.get("x-ably-clientId"),
            expires=claims["exp"] * 1000,
        )

    def _mac(self, text: str) -> str:
        digest = hmac.new(self._secret.encode(), text.encode(), hashlib.sha256).digest()
        return base64.b64encode(digest).decode()


def now() -> int:
    """Return the time in milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


_SIGNED = ("keyName", "ttl", "capability", "clientId", "timestamp", "nonce")
"""What a TokenRequest's mac covers, in this order."""


def _covers(resource: str, channel: str) -> bool:
    """Tell whether a resource covers a channel: `*` is a whole segment, at the end any number."""
    if resource == "*":
        return True
    wanted, has = resource.split(":"), channel.split(":")
    if wanted[-1] == "*" and len(has) >= len(wanted):
        wanted, has = wanted[:-1], has[: len(wanted) - 1]
    return len(wanted) == len(has) and all(
        one in ("*", other) for one, other in zip(wanted, has, strict=True)
    )


def _allows(capability: Capability, operation: str, channel: str) -> bool:
    return any(
        _covers(resource, channel) and not {operation, "*"}.isdisjoint(operations)
        for resource, operations in capability.items()
    )


def _within(wanted: Capability, limit: Capability) -> Capability:
    """Return what of a capability the key's own covers.

    Raises:
        RefusedByAbly: 40160, nothing.

    """
    common = {
        resource: [one for one in operations if _allows(limit, one, resource)]
        for resource, operations in wanted.items()
    }
    if not any(common.values()):
        raise RefusedByAbly(40160, 401, "The key's capability has nothing of what was asked for")
    return {resource: operations for resource, operations in common.items() if operations}


def _capability(text: object) -> Capability:
    if not text:
        return EVERYTHING
    try:
        capability = orjson.loads(str(text))
    except orjson.JSONDecodeError:
        capability = None
    if not isinstance(capability, dict) or not all(
        isinstance(operations, list) for operations in capability.values()
    ):
        raise RefusedByAbly(40000, 400, "A capability is a JSON object of lists")
    return capability


def _from_base64(text: str) -> str | None:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
