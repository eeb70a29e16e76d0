"""Requests to Ably's REST API, by the official SDK."""

import asyncio
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx
from ably import AblyException, AblyRest
from ably.types.message import Message

from realtime_bridge.errors import PublishError
from realtime_bridge_backends.ably import logs
from realtime_bridge_backends.ably.batches import Publication
from realtime_bridge_backends.ably.errors import raise_for_refusal, to_publish_error
from realtime_bridge_backends.ably.timing import AblyTiming
from realtime_bridge_backends.ably.tokens import Signer

MESSAGE_NAME = "realtime"
"""Name of all our messages at Ably; an event's own name is in its frame."""

API_VERSION = "3"
"""Version of Ably's API from which a batch response has a result per channel."""

ERROR_TEXT = 200
"""Longest text of Ably's in an error, in characters."""

TOKEN_ERRORS = range(40140, 40150)
"""Codes after which a fresh token is accepted."""

CALL_ERRORS = (AblyException, httpx.HTTPError, OSError, ValueError, LookupError, TypeError)
"""Errors that the SDK raises; the last three for answers that are not Ably's."""


class AblyREST:
    """REST client for one app.

    The first request creates the SDK's client, and so does a request in another event loop. It
    uses tokens signed here, so the key's secret stays in this process. They also work without
    TLS, where the SDK rejects keys.

    Args:
        key: the app's key.
        endpoint: the cluster: a name of Ably's, or a host.
        port: the port of a server other than Ably's.
        tls: whether requests are encrypted.
        capability: the operations of the tokens, by channel.
        timing: durations.

    """

    def __init__(
        self,
        key: str,
        *,
        endpoint: str,
        port: int | None,
        tls: bool,
        capability: Mapping[str, list[str]],
        timing: AblyTiming,
    ) -> None:
        self.signer: Signer = Signer(key)
        self._key = key
        self._endpoint = endpoint
        self._port = port
        self._tls = tls
        self._capability = capability
        self._timing = timing
        self._rest: AblyRest | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def host(self) -> str:
        """Host of the requests, with its port unless that is the usual one."""
        is_cluster_name = "." not in self._endpoint and self._endpoint != "localhost"
        port = f":{self._port}" if self._port else ""
        return f"{self._endpoint}.realtime.ably.net" if is_cluster_name else self._endpoint + port

    @property
    def options(self) -> dict[str, Any]:
        """Address and time limits, as the SDK takes them."""
        port = {"tls_port" if self._tls else "port": self._port} if self._port else {}
        return {
            "endpoint": self._endpoint,
            "tls": self._tls,
            "http_open_timeout": self._timing.connect_seconds,
            "http_request_timeout": self._timing.call_seconds,
            **port,
        }

    async def close(self) -> None:
        """Close the kept connections."""
        rest, self._rest = self._rest, None
        if rest is not None:
            await rest.close()

    async def publish(self, publications: Sequence[Publication]) -> None:
        """Publish in one request, and once more if a kept connection was stale.

        The ids make that safe: Ably ignores a repeated id for 2 minutes.

        Raises:
            PublishError: Ably refused, or cannot be reached.

        """
        try:
            try:
                await self._send(publications)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                await self._send(publications)
        except CALL_ERRORS as error:
            raise self.to_publish_error(error) from None  # the cause may hold a token

    async def _send(self, publications: Sequence[Publication]) -> None:
        path, body = _request_of(publications)
        # By `request` for one channel too: `publish` takes an error with status 200 for a success.
        response = await self._client().request("POST", path, API_VERSION, body=body)
        if int(response.error_code or 0) in TOKEN_ERRORS:
            # Ably alone knows that a JWT has expired; the SDK renews no token of such a request.
            await self._client().auth.authorize()
            response = await self._client().request("POST", path, API_VERSION, body=body)
        raise_for_refusal(response, self._redact)

    async def revoke(self, targets: Sequence[str]) -> None:
        """Revoke the tokens that were issued until now.

        Args:
            targets: `clientId:ID` or `channel:NAME`.

        Raises:
            PublishError: Ably refused, or cannot be reached.

        """
        scheme = "https" if self._tls else "http"
        url = f"{scheme}://{self.host}/keys/{self.signer.name}/revokeTokens"
        name, _, secret = self._key.partition(":")
        timeout = httpx.Timeout(self._timing.call_seconds, connect=self._timing.connect_seconds)
        try:
            async with httpx.AsyncClient(timeout=timeout) as client:
                # Not by the SDK, which sends no key without TLS; a token is not accepted here.
                response = await client.post(url, json={"targets": targets}, auth=(name, secret))
            if response.status_code != HTTPStatus.CREATED:
                AblyException.raise_for_response(response)
            for result in response.json()["results"]:
                if "error" in result:
                    raise AblyException.from_dict(result["error"])
        except CALL_ERRORS as error:
            raise self.to_publish_error(error) from None

    def to_publish_error(self, error: Exception) -> PublishError:
        """Return the error to raise for one of `CALL_ERRORS`, without secrets."""
        return to_publish_error(error, self.host, self._redact)

    def _client(self) -> AblyRest:
        """Return the SDK's client for the running loop."""
        loop = asyncio.get_running_loop()
        # The kept connections belong to a loop: a client of a closed loop cannot send.
        if self._rest is None or self._loop is not loop:
            self._rest = AblyRest(auth_callback=self._create_token, **self.options)
            self._loop = loop
        return self._rest

    async def _create_token(self, _: Any) -> str:
        return self.signer.create_jwt(self._capability, seconds=self._timing.token_seconds)

    def _redact(self, text: str) -> str:
        for secret in (self._key, self._key.partition(":")[2]):
            text = text.replace(secret, "…")
        return " ".join(logs.redact_tokens(text).split())[:ERROR_TEXT]


def _request_of(publications: Sequence[Publication]) -> tuple[str, list[dict[str, Any]]]:
    """Return the path and the body that publish on one channel, or on several."""
    if len(publications) == 1:
        name = quote(publications[0].channel, safe=":")
        return f"/channels/{name}/messages", _messages(publications[0])
    specs = [
        {"channels": [publication.channel], "messages": _messages(publication)}
        for publication in publications
    ]
    return "/messages", specs


def _messages(publication: Publication) -> list[dict[str, Any]]:
    messages = [
        Message(name=MESSAGE_NAME, data=message.frame.decode(), id=message_id)
        for message, message_id in zip(publication.messages, publication.ids, strict=True)
    ]
    return [message.as_dict(binary=True) for message in messages]
