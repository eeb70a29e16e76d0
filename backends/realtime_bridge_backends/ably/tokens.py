"""Permission for Ably's own clients: tokens with just what was granted, signed by our key."""

import hmac
import json
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from typing import Any

from ably.types.tokenrequest import TokenRequest

EVERYBODY = "*"
"""As a client id it would mean any: nobody gets it."""


class Signer:
    """Signs what an Ably key can sign; the key's secret goes nowhere.

    Args:
        key: `APPID.KEYID:SECRET`.

    """

    def __init__(self, key: str) -> None:
        self.name, _, self._secret = key.partition(":")

    def jwt(
        self, capability: Mapping[str, list[str]], *, seconds: float, client: str | None = None
    ) -> str:
        """Return a token that Ably takes as it is."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "iat": now,
            "exp": now + int(seconds),
            "x-ably-capability": _text(capability),
        }
        if client not in (None, EVERYBODY):
            claims["x-ably-clientId"] = client
        header = {"typ": "JWT", "alg": "HS256", "kid": self.name}
        return self._signed(f"{_encoded(_text(header))}.{_encoded(_text(claims))}")

    def _signed(self, said: str) -> str:
        """Return the compact form of RFC 7515 §7.1.

        PyJWT loads `cryptography` where that is installed, which no cold start should pay for.
        """
        signature = hmac.digest(self._secret.encode(), said.encode(), "sha256")
        return f"{said}.{_encoded(signature)}"

    def details(
        self, capability: Mapping[str, list[str]], *, seconds: float, client: str
    ) -> dict[str, Any]:
        """Return the TokenDetails of such a token, as the SDKs read them."""
        issued = int(time.time()) * 1000
        return {
            "token": self.jwt(capability, seconds=seconds, client=client),
            "keyName": self.name,
            "issued": issued,
            "expires": issued + int(seconds) * 1000,
            "capability": _text(capability),
        } | ({} if client == EVERYBODY else {"clientId": client})

    def request(
        self, capability: Mapping[str, list[str]], *, seconds: float, client: str | None = None
    ) -> dict[str, Any]:
        """Return a TokenRequest, which a client exchanges for a token at Ably."""
        request = TokenRequest(
            key_name=self.name,
            client_id=None if client == EVERYBODY else client,
            ttl=int(seconds) * 1000,
            capability=_text(capability),
            timestamp=time.time_ns() // 1_000_000,
            nonce=secrets.token_hex(16),
        )
        request.sign_request(self._secret)
        fields: dict[str, Any] = request.to_dict()
        return {name: value for name, value in fields.items() if value is not None}


def listening(channels: Iterable[str]) -> dict[str, list[str]]:
    """Return the capability to listen to these channels, and to do nothing else."""
    return {channel: ["subscribe"] for channel in channels}


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def _encoded(value: str | bytes) -> str:
    given = value.encode() if isinstance(value, str) else value
    return urlsafe_b64encode(given).rstrip(b"=").decode()
