"""HTTP requests of a client to its bridge, in one session."""

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import orjson
from msgspec import json

from realtime_bridge.client.network import Network
from realtime_bridge.model.urls import is_loopback
from realtime_bridge.protocol.client.credentials import DENIAL

OK = 200
EVENT_STREAM = "text/event-stream"
TOKEN_HEADER = "realtime-token"  # noqa: S105 -- a name, no secret
"""Not `authorization`: that header may hold the credentials of a proxy on the way."""

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Longest message of a server: a page of the log in one piece."""

MAX_RETRY_AFTER = 600
"""Longest `Retry-After` that a client follows, in seconds."""

_EVENT_END = re.compile(rb"\r?\n\r?\n")
"""End of a server-sent event; the bridge ends lines with LF, a proxy may make that CRLF."""

_END_BYTES = 4
"""Longest end of an event."""

_NETWORK = Network()


@dataclass(frozen=True, slots=True)
class HTTPResult:
    """Result of a request.

    Args:
        status: HTTP status; None where no valid response arrived, or where something other than
            the bridge denies access: the next attempt may reach the bridge.
        fields: JSON object of the response, or an empty one.
        retry_after: Milliseconds of `Retry-After`, where the server sent it as a number.
        code: Code of the bridge's own refusal; None: something else answered.
        message: Cause of a failure in words; None where no response arrived.

    """

    status: int | None = None
    fields: Mapping[str, Any] | None = None
    retry_after: int | None = None
    code: str | None = None
    message: str | None = None

    @classmethod
    def foreign(cls, status: int, retry_after: int | None = None) -> "HTTPResult":
        """Return the result of a response that is not the bridge's."""
        known = None if status == OK or status in DENIAL else status
        message = f"something other than the bridge answered {status}: check the address"
        return cls(known, {}, retry_after, message=message)


class StreamFailedError(Exception):
    """A stream of server-sent events did not open, or broke.

    Args:
        status: HTTP status of the response; None where none arrived.
        message: Reason of the failure.
        code: Code of the bridge's own refusal.

    """

    def __init__(self, status: int | None, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class BridgeHTTP:
    """HTTP session of one client, as an async context manager.

    Args:
        url: URL of the bridge.
        timeout: Time limit of a request, in milliseconds; streams have none.
        network: Opens the session.

    """

    def __init__(self, url: str, *, timeout: int, network: Network = _NETWORK) -> None:
        self._network = network
        self._timeout = aiohttp.ClientTimeout(total=timeout / 1_000)
        self._stream_timeout = aiohttp.ClientTimeout(total=None, sock_connect=timeout / 1_000)
        self.is_remote: bool = not is_loopback(urlsplit(url).hostname or "")
        """True where a proxy of the environment may lead to the bridge."""
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        open_session = self._network.open_session
        self._session = open_session(timeout=self._timeout, trust_env=self.is_remote)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session:
            await self._session.close()

    async def post(self, url: str, fields: Mapping[str, Any], token: str) -> HTTPResult:
        """Send a JSON object; a network failure or an invalid body is a result without status."""
        assert self._session, "use it as a context manager"
        headers = {TOKEN_HEADER: token, "content-type": "application/json"}
        return await _result_of(self._session.post(url, data=json.encode(fields), headers=headers))

    async def get(self, url: str, token: str) -> HTTPResult:
        """Request a JSON object; a network failure or an invalid body is as for `post`."""
        assert self._session, "use it as a context manager"
        return await _result_of(self._session.get(url, headers={TOKEN_HEADER: token}))

    async def stream(
        self, url: str, fields: Mapping[str, Any], token: str
    ) -> AsyncGenerator[str, None]:
        """Send a JSON object, and yield the data of each server-sent event of the response.

        Raises:
            StreamFailedError: the stream did not open, or broke.

        """
        assert self._session, "use it as a context manager"
        headers = {
            "accept": EVENT_STREAM,
            TOKEN_HEADER: token,
            "content-type": "application/json",
        }
        request = self._session.post(
            url, data=json.encode(fields), headers=headers, timeout=self._stream_timeout
        )
        try:
            async with request as response:
                if response.status != OK or response.content_type != EVENT_STREAM:
                    result = read_response(response.status, await response.read(), response.headers)
                    message = result.message or f"the answer is {response.content_type}, no stream"
                    raise StreamFailedError(result.status, message, result.code)
                parser = EventStreamParser()
                # Not by lines: aiohttp limits a line to 64 KiB, less than an event may have.
                async for chunk in response.content.iter_any():
                    for data in parser.feed(chunk):
                        yield data
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise StreamFailedError(None, str(error)) from error


async def _result_of(request: AbstractAsyncContextManager[aiohttp.ClientResponse]) -> HTTPResult:
    try:
        async with request as response:
            return read_response(response.status, await response.read(), response.headers)
    except (aiohttp.ClientError, OSError, TimeoutError):
        return HTTPResult()


class EventStreamParser:
    """Parser of server-sent events; comments and fields other than `data` are skipped.

    Args:
        limit: Longest event, in bytes.

    """

    def __init__(self, limit: int = MAX_MESSAGE_BYTES) -> None:
        self._limit = limit
        self._rest = bytearray()
        self.searched: int = 0
        """Bytes of the rest in which no event ends."""

    def feed(self, chunk: bytes) -> list[str]:
        """Return the data of each event that is complete; several lines are joined.

        Raises:
            StreamFailedError: an event is over the limit.

        """
        self._rest += chunk
        blocks, start = [], 0
        while end := _EVENT_END.search(self._rest, self.searched):
            blocks.append(bytes(self._rest[start : end.start()]))
            start = self.searched = end.end()
        del self._rest[:start]
        # An event of many pieces is searched once: a large page would take seconds otherwise.
        self.searched = max(0, len(self._rest) - _END_BYTES + 1)
        if len(self._rest) > self._limit:
            raise StreamFailedError(None, f"an event of the stream is over {self._limit:,} bytes")
        return [data for block in blocks if (data := _data(block))]


def _data(block: bytes) -> str:
    text = block.replace(b"\r\n", b"\n")
    lines = [line[5:] for line in text.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(line.removeprefix(b" ") for line in lines).decode()


def read_response(status: int, body: bytes, headers: Mapping[str, str]) -> HTTPResult:
    """Read a response; headers have names in lower case, or any case."""
    seconds = headers.get("retry-after", "")
    # Of thousands of digits, Python makes a float, but no integer.
    retry_after = (
        round(min(MAX_RETRY_AFTER, float(seconds)) * 1_000) if seconds.isdecimal() else None
    )
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        fields = None
    if not isinstance(fields, dict):
        fields = {}
    if status == OK and fields:
        return HTTPResult(status, fields, retry_after)
    refusal = _refusal(fields, headers)
    code, message = refusal.get("code"), refusal.get("message")
    if not isinstance(code, str):
        # A portal or a proxy may answer 200 with HTML, or deny what it does not know.
        return HTTPResult.foreign(status, retry_after)
    return HTTPResult(
        status, fields, retry_after, code, message if isinstance(message, str) else code
    )


def _refusal(fields: Mapping[str, Any], headers: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the bridge's own refusal; its refusals are JSON, with a code in words."""
    error = fields.get("error")
    is_json = headers.get("content-type", "").startswith("application/json")
    return error if is_json and isinstance(error, dict) else {}
