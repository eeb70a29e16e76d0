"""The bridge's HTTP side as a client uses it: descriptors and polls, one session for all."""

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import orjson

from realtime_bridge.model.urls import is_loopback

REQUEST_SECONDS = 10.0
OK = 200


@dataclass(frozen=True, slots=True)
class HTTPResult:
    """A response: its status, or None when there was none; its JSON object, or an empty one."""

    status: int | None
    fields: dict[str, Any]
    retry_after: int | None = None
    """Milliseconds, where the server asked for some."""

    @property
    def reason(self) -> str:
        """What the server said, in words."""
        error = self.fields.get("error")
        said = error.get("message") if isinstance(error, dict) else None
        return str(said or f"the server answered {self.status or 'nothing'}")


class BridgeHTTP:
    """Requests to one bridge."""

    def __init__(self, url: str) -> None:
        self._remote = not is_loopback(urlsplit(url).hostname or "")
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        self._session = aiohttp.ClientSession(timeout=timeout, trust_env=self._remote)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session:
            await self._session.close()

    async def post(self, url: str, fields: dict[str, Any], token: str) -> HTTPResult:
        """Send an object; no network, and nonsense, are answers too."""
        assert self._session, "use it as a context manager"
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        body = orjson.dumps(fields)
        try:
            async with self._session.post(url, data=body, headers=headers) as response:
                return _read(response.status, await response.read(), response.headers)
        except (aiohttp.ClientError, OSError, TimeoutError):
            return HTTPResult(None, {})


def _read(status: int, body: bytes, headers: Any) -> HTTPResult:
    seconds = headers.get("retry-after", "")
    retry_after = int(seconds) * 1_000 if seconds.isdecimal() else None
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        fields = None
    if isinstance(fields, dict):
        return HTTPResult(status, fields, retry_after)
    return HTTPResult(None if status == OK else status, {}, retry_after)
