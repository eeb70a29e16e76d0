"""Events by polling: positions in, events or a reset out."""

import asyncio
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import orjson

from realtime_bridge.client.stream import DeniedError, Stream, Unavailable
from realtime_bridge.protocol.frames import ProtocolError, decode_position
from realtime_bridge.settings import is_loopback

REQUEST_SECONDS = 10.0
MIN_INTERVAL, MAX_INTERVAL = 0.25, 60.0
AGAIN = 0.01
"""The pause before the next page, in seconds."""

LATER_MS = 5_000


class PollTransport:
    """Polls the bridge at `url`, one request at a time."""

    def __init__(self, url: str, stream: Stream) -> None:
        self._url = f"{url}/poll"
        self._stream = stream
        self._http: aiohttp.ClientSession | None = None
        self._token: str | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        remote = not is_loopback(urlsplit(self._url).hostname or "")
        self._http = aiohttp.ClientSession(timeout=timeout, trust_env=remote)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._http:
            await self._http.close()

    async def poll(self) -> float:
        """Poll until nothing more is there, and return the seconds to wait before the next.

        Raises:
            Unavailable: the server cannot be reached, or fails.
            DeniedError: the server refuses us for good.

        """
        try:
            answer = await self._ask()
            while await self._take_all(answer):
                await asyncio.sleep(AGAIN)
                answer = await self._ask()
            wait = float(answer.get("next_ms", LATER_MS)) / 1_000
        except (aiohttp.ClientError, OSError, TimeoutError, KeyError, ProtocolError) as error:
            raise Unavailable(f"polling failed: {error!r}") from error
        return min(MAX_INTERVAL, max(MIN_INTERVAL, wait))

    async def _take_all(self, answer: dict[str, Any]) -> bool:
        """Apply an answer; True when some channel has more to say at once."""
        return any([await self._take(name, said) for name, said in answer["channels"].items()])

    async def _take(self, channel: str, fields: dict[str, Any]) -> bool:
        """Apply what the answer says of a channel; True when it has more to say at once."""
        if "error" in fields:
            return False
        if fields.get("reset") == "forbidden":
            raise DeniedError(f"{channel}: this user may not listen to it")
        if "reset" in fields:
            top = decode_position(fields["position"])
            return bool(await self._stream.reset(channel, fields["reset"], top))
        page = {**fields["position"], "events": fields["events"], "more": fields.get("more")}
        return bool(await self._stream.page(channel, page))

    async def _ask(self) -> dict[str, Any]:
        positions = {
            channel: position.to_json() if position else None
            for channel, position in self._stream.positions.items()
        }
        if self._token is None:
            self._token = await self._stream.token()
        status, body = await self._post({"positions": positions}, self._token)
        if status == 401 and self._stream.renewable:  # noqa: PLR2004 -- HTTP's own number
            self._token = await self._stream.token()
            status, body = await self._post({"positions": positions}, self._token)
        if status in (400, 401, 403):
            raise DeniedError(f"the server refused the poll with {status}: {_message(body)}")
        if status != 200:  # noqa: PLR2004 -- HTTP's own number
            raise Unavailable(f"the server answered {status}")
        return _parsed(body)

    async def _post(self, fields: dict[str, Any], token: str) -> tuple[int, bytes]:
        assert self._http, "use it as a context manager"
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        async with self._http.post(self._url, data=orjson.dumps(fields), headers=headers) as answer:
            return answer.status, await answer.read()


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unavailable("the server answered what is not JSON") from error
    if not isinstance(fields, dict):
        raise Unavailable("the server answered what is not an object")
    return fields


def _message(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["error"]["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "no reason given"
