"""The log of our own server, from another process: one signed connection, pipelined."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from realtime_bridge.backend.component import CheckResult
from realtime_bridge.backend.log import Log
from realtime_bridge.backend.plugin import Plugin
from realtime_bridge.errors import (
    BackendAuthError,
    BackendUnavailableError,
    ConfigurationError,
    InvalidEventError,
    PublishError,
    RealtimeError,
)
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import PAGE_EVENTS, Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.urls import is_loopback, redact
from realtime_bridge.protocol.wire import rpc

if TYPE_CHECKING:
    from realtime_bridge.settings import Settings

CONNECT_SECONDS = 2.0
SLICE_BYTES = rpc.MAX_CALL_BYTES // 2
"""An append is cut into calls of this size, so that names and ids never make one too large."""


class WebSocketBackend(Log, Plugin):
    """Calls the server that holds the log. It connects on first use, and anew after a loss.

    A call that was under way when the connection was lost raises `BackendUnavailableError`; the
    broadcaster repeats it with the same ids, so nothing is published twice.

    Args:
        url: the server's address, such as `https://example.com/realtime`.
        secret: what the server's `REALTIME_SECRET` is.

    """

    default_logs = ("memory",)

    def __init__(self, url: str, secret: str) -> None:
        self._url = url.rstrip("/")
        self._secret = secret
        self._line: _Line | None = None
        self._connecting = asyncio.Lock()

    def __str__(self) -> str:
        return f"the server at {redact(self._url)}"

    @classmethod
    def from_settings(cls, settings: "Settings") -> Self:
        """Return a backend that calls the server at `REALTIME_WEBSOCKET_URL`."""
        from realtime_bridge_backends.websocket_settings import WebSocketSettings

        url = WebSocketSettings.load().url
        return cls(url, settings.secret_for(url))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        line, self._line = self._line, None
        if line:
            await line.close()

    async def check(self) -> list[CheckResult]:
        """Call the server, to see that it is there, knows our secret, and has its log."""
        try:
            await self.positions([])
        except BackendAuthError as error:
            cure = "Give both the same REALTIME_SECRET, and set both clocks"
            return [CheckResult(check="server", status="failed", detail=str(error), hint=cure)]
        except PublishError as error:
            return [CheckResult(check="server", status="failed", detail=str(error))]
        return [CheckResult(check="server", status="ok", detail="answers, and knows our secret")]

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        """Append on the server, which fans out."""
        receipts: list[Receipt] = []
        for part in _slices(events):
            answer = await self._call("append", events=[rpc.pack_event(event) for event in part])
            receipts += map(rpc.unpack_receipt, answer["receipts"])
        return receipts

    async def read(self, channel: str, after: Position, limit: int = PAGE_EVENTS) -> Page | Reset:
        """Read on the server."""
        answer = await self._call("read", channel=channel, after=after.to_json(), limit=limit)
        return rpc.unpack_answer(answer)

    async def positions(self, channels: Iterable[str]) -> dict[str, Position]:
        """Ask the server for positions."""
        answer = await self._call("positions", channels=list(channels))
        return {name: Position.from_json(top) for name, top in answer["positions"].items()}

    async def latest(self, channel: str, *, after: int = 0, limit: int = PAGE_EVENTS) -> Page:
        """Read the latest event of each key on the server."""
        answer = await self._call("latest", channel=channel, after=after, limit=limit)
        page = rpc.unpack_answer(answer)
        assert isinstance(page, Page)
        return page

    async def rotate_epoch(self, channel: str, expected_epoch: str) -> Position:
        """Rotate on the server."""
        answer = await self._call("rotate_epoch", channel=channel, expected_epoch=expected_epoch)
        return Position.from_json(answer["position"])

    async def _call(self, name: str, **fields: Any) -> dict[str, Any]:
        line = self._line
        if line is None or line.lost:
            line = await self._connect()
        try:
            answer = await line.call(name, fields)
        except ConnectionClosed as error:
            raise BackendUnavailableError(f"{self} went away in the middle of a call") from error
        if "error" in answer:
            raise _error(answer["error"])
        return answer

    async def _connect(self) -> "_Line":
        async with self._connecting:
            if self._line is None or self._line.lost:
                self._line = _Line(await self._open())
            return self._line

    async def _open(self) -> ClientConnection:
        timestamp = f"{time.time():.6f}"
        try:
            return await connect(
                f"{self._url.replace('http', 'ws', 1)}/publish",
                additional_headers=rpc.signed_headers(self._secret, timestamp, b""),
                compression=None,
                max_size=2 * rpc.MAX_CALL_BYTES,
                open_timeout=CONNECT_SECONDS,
                proxy=None if is_loopback(urlsplit(self._url).hostname or "") else True,
            )
        except InvalidStatus as error:
            raise self._refused(error) from error
        except InvalidURI as error:
            raise ConfigurationError(f"REALTIME_WEBSOCKET_URL is no address: {error}") from error
        except (OSError, InvalidHandshake, TimeoutError) as error:
            raise BackendUnavailableError(
                f"{self} cannot be reached ({error or 'no answer in 2 s'}): start it with "
                "`realtime-bridge serve`, or set REALTIME_WEBSOCKET_URL to where it is"
            ) from error

    def _refused(self, error: InvalidStatus) -> PublishError:
        status = error.response.status_code
        if status in (401, 403):
            return BackendAuthError(f"{self} refused us: {_reason(error)}")
        return BackendUnavailableError(
            f"{self} answered {status}: is the bridge mounted there, and REALTIME_WEBSOCKET_URL "
            "right?",
            retryable=status >= 500,  # noqa: PLR2004 -- the server's own fault
        )


class _Line:
    """One open connection, and the calls that wait for their answers on it."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._number = 0
        self._queue = 0
        self._reading = asyncio.create_task(self._read())

    @property
    def lost(self) -> bool:
        return self._reading.done()

    async def call(self, name: str, fields: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        number = self._number
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        heard = self._queue
        try:
            text = orjson.dumps({"call": name, "number": number, **fields}).decode()
            await self._connection.send(text)
            return await answer
        except asyncio.CancelledError:
            if self._queue == heard:  # not a word since: the next call shall find another way
                self._connection.transport.abort()
            raise
        finally:
            self._waiting.pop(number, None)

    async def close(self) -> None:
        await self._connection.close()
        await self._reading

    async def _read(self) -> None:
        try:
            while True:
                answer: dict[str, Any] = orjson.loads(await self._connection.recv())
                self._queue += 1
                waiting = self._waiting.get(answer["number"])
                if waiting and not waiting.done():
                    waiting.set_result(answer)
        except ConnectionClosed as error:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(error)
                    waiting.exception()  # its caller may have learnt it from sending


def _slices(events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    """Cut a batch into parts that are small enough for one call each."""
    start = size = 0
    for end, event in enumerate(events):
        if size + len(event.body) > SLICE_BYTES and end > start:
            yield events[start:end]
            start, size = end, 0
        size += len(event.body)
    if events:
        yield events[start:]


def _error(fields: dict[str, Any]) -> RealtimeError:
    if fields["invalid"]:
        return InvalidEventError(fields["message"])
    return PublishError(fields["message"], retryable=fields["retryable"])


def _reason(error: InvalidStatus) -> str:
    """Return what the server said, which never holds a secret."""
    try:
        return str(orjson.loads(error.response.body or b"")["error"]["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "check that both have the same REALTIME_SECRET"
