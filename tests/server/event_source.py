"""Reader of Server-Sent Events as the HTML specification describes it, and streams read with it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlencode

import orjson
from aiohttp import ClientResponse

from tests.server.harness import TIMEOUT, Site


class Fired(NamedTuple):
    """Event that a page receives."""

    name: str
    data: str
    last_id: str

    @property
    def value(self) -> Any:
        return orjson.loads(self.data)


class EventSourceParser:
    """Parser of a stream: only what a blank line ends is fired, or moves the last event id."""

    def __init__(self) -> None:
        self.last_id = ""
        self.retry: int | None = None
        self.comments = 0
        self._rest = b""
        self._name, self._data, self._id = "", "", ""

    def feed(self, data: bytes) -> list[Fired]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        fired = [self._read(line.decode()) for line in lines]
        return [event for event in fired if event]

    def _read(self, line: str) -> Fired | None:
        assert "\r" not in line
        if not line:
            return self._dispatch()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value
        elif field == "data":
            self._data += value + "\n"
        elif field == "id":
            self._id = value
        elif field == "retry":
            self.retry = int(value)
        elif not field:
            self.comments += 1
        else:
            raise AssertionError(line)
        return None

    def _dispatch(self) -> Fired | None:
        self.last_id = self._id
        name, data, self._name, self._data = self._name, self._data, "", ""
        if not data:
            return None
        return Fired(name or "message", data.removesuffix("\n"), self.last_id)


class PlainStream:
    """Open stream of a plain reader."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response
        self.parser = EventSourceParser()
        self._fired: list[Fired] = []

    @property
    def status(self) -> int:
        return self.response.status

    async def next(self) -> Fired:
        async with asyncio.timeout(TIMEOUT):
            while not self._fired:
                assert await self._read(), "the stream has ended"
        return self._fired.pop(0)

    async def values(self, count: int) -> list[Any]:
        return [(await self.next()).value for _ in range(count)]

    async def opened(self, *channels: str) -> str:
        """Wait until the channels are open; return the last event id."""
        async with asyncio.timeout(TIMEOUT):
            while [entry.partition("/")[0] for entry in self.parser.last_id.split(" ")] != list(
                channels
            ):
                assert await self._read(), "the stream has ended"
        return self.parser.last_id

    async def comments(self, count: int) -> None:
        async with asyncio.timeout(TIMEOUT):
            while self.parser.comments < count:
                assert await self._read(), "the stream has ended"

    async def ended(self) -> list[Fired]:
        """Read to the end, and return the events before it."""
        async with asyncio.timeout(TIMEOUT):
            while await self._read():
                pass
        return self._fired

    async def error(self) -> str:
        return str((await self.response.json())["error"]["code"])

    async def _read(self) -> bytes:
        data = await self.response.content.readany()
        self._fired += self.parser.feed(data)
        return data


@asynccontextmanager
async def plain_stream(
    site: Site,
    *channels: str,
    user: str = "42",
    last_id: str = "",
    headers: Mapping[str, str] = {},
    seconds: float = 600,
    form: str = "json",
    **query: str,
) -> AsyncIterator[PlainStream]:
    """Open a stream with a token of this user, who may listen to all channels."""
    parameters = [("channel", channel) for channel in channels] + [("as", form), *query.items()]
    sent = {"authorization": f"Bearer {site.token(user, seconds=seconds)}"} | dict(headers)
    if last_id:
        sent["last-event-id"] = last_id
    url = f"{site.url}/sse?{urlencode(parameters)}"
    async with site.http.get(url, headers=sent) as response:
        yield PlainStream(response)
