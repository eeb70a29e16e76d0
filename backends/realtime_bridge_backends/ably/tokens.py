"""Tokens for Ably's clients, signed with the app's key."""

import hmac
import json
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Container, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from ably.types.tokenrequest import TokenRequest

WILDCARD_CLIENT = "*"
"""A client id with which Ably allows any client id: no token gets it."""


class Signer:
    """Signer of tokens; the key's secret stays in this process.

    Args:
        key: `APPID.KEYID:SECRET`.

    """

    def __init__(self, key: str) -> None:
        self.name, _, self._secret = key.partition(":")

    def create_jwt(
        self,
        capability: Mapping[str, list[str]],
        *,
        seconds: float,
        client: str | None = None,
        info: Mapping[str, Any] = MappingProxyType({}),
    ) -> str:
        """Return a JWT, which Ably accepts as a token.

        Args:
            capability: the operations by channel.
            seconds: the lifetime.
            client: the client id; None for any.
            info: what Ably adds to the presence of this client, by channel.

        """
        now = int(time.time())
        claims: dict[str, Any] = {
            "iat": now,
            "exp": now + int(seconds),
            "x-ably-capability": _to_json(capability),
        }
        if client not in (None, WILDCARD_CLIENT):
            claims["x-ably-clientId"] = client
        claims |= {f"ably.channel.{channel}": _to_json(one) for channel, one in info.items()}
        header = {"typ": "JWT", "alg": "HS256", "kid": self.name}
        return self._sign(f"{_base64(_to_json(header))}.{_base64(_to_json(claims))}")

    def _sign(self, message: str) -> str:
        """Return the compact form of RFC 7515 §7.1.

        Without PyJWT: it imports `cryptography` if that is installed, which is slow at a cold
        start.
        """
        signature = hmac.digest(self._secret.encode(), message.encode(), "sha256")
        return f"{message}.{_base64(signature)}"

    def create_details(
        self,
        capability: Mapping[str, list[str]],
        *,
        seconds: float,
        client: str,
        info: Mapping[str, Any] = MappingProxyType({}),
    ) -> dict[str, Any]:
        """Return a JWT as TokenDetails, the form that the SDKs read."""
        issued = int(time.time()) * 1000
        return {
            "token": self.create_jwt(capability, seconds=seconds, client=client, info=info),
            "keyName": self.name,
            "issued": issued,
            "expires": issued + int(seconds) * 1000,
            "capability": _to_json(capability),
        } | ({} if client == WILDCARD_CLIENT else {"clientId": client})

    def create_request(
        self, capability: Mapping[str, list[str]], *, seconds: float, client: str | None = None
    ) -> dict[str, Any]:
        """Return a TokenRequest, which a client exchanges for a token at Ably."""
        request = TokenRequest(
            key_name=self.name,
            client_id=None if client == WILDCARD_CLIENT else client,
            ttl=int(seconds) * 1000,
            capability=_to_json(capability),
            timestamp=time.time_ns() // 1_000_000,
            nonce=secrets.token_hex(16),
        )
        request.sign_request(self._secret)
        fields: dict[str, Any] = request.to_dict()
        return {name: value for name, value in fields.items() if value is not None}


def subscribe_capability(
    channels: Iterable[str], present: Container[str] = ()
) -> dict[str, list[str]]:
    """Return the capability to subscribe to channels, and to be present on some of them."""
    return {
        channel: ["presence", "subscribe"] if channel in present else ["subscribe"]
        for channel in channels
    }


def _to_json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def _base64(value: str | bytes) -> str:
    data = value.encode() if isinstance(value, str) else value
    return urlsafe_b64encode(data).rstrip(b"=").decode()
