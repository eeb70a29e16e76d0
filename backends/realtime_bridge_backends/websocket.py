"""Log of a bridge server, called from another process over one signed WebSocket."""

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import orjson
from msgspec import Struct
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from realtime_bridge.backend.calls import CONNECTION_ERRORS
from realtime_bridge.backend.component import CheckResult
from realtime_bridge.backend.log import FoldingLog, JoiningLog, Result
from realtime_bridge.backend.plugin import Plugin
from realtime_bridge.backend.supervisor import Supervisor
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
from realtime_bridge.model.receipt import Lease, Receipt, Renewal
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.secret_list import split_secrets
from realtime_bridge.model.urls import is_loopback, redact
from realtime_bridge.protocol.publishing.server_clock import ServerClock
from realtime_bridge.protocol.wire import rpc
from realtime_bridge_backends.websocket_connection import MessageConnection, RPCConnection

if TYPE_CHECKING:
    from realtime_bridge.settings import Settings

APPEND_BYTES = rpc.MAX_CALL_BYTES // 2
"""The most bytes of data in one append: names and ids have the other half of the call."""

_logger = logging.getLogger("realtime_bridge.publishing")


class WebSocketTiming(Struct, frozen=True, kw_only=True):
    """Time limits, in seconds.

    Args:
        connect_seconds: to open the connection, and to close it.
        call_seconds: for one call, with the time to connect. It is below the broadcaster's limit
            of 5 s.

    """

    connect_seconds: float = 2.0
    call_seconds: float = 4.0


class WebSocketBackend(FoldingLog, JoiningLog, Plugin):
    """Log that calls the server of another log; it connects on use, and reconnects.

    A lost connection makes its open calls raise `BackendUnavailableError`. The broadcaster repeats
    them with the same ids, so no event is published twice.

    Args:
        url: the server's address, such as `https://example.com/realtime`.
        secret: the server's `REALTIME_SECRET`; of several, separated by commas, the first signs.
        timing: time limits.

    """

    default_logs = ("sqlite", "memory")

    def __init__(self, url: str, secret: str, *, timing: WebSocketTiming | None = None) -> None:
        self._url = url.rstrip("/")
        self._secret = split_secrets(secret)[0]
        self._clock = ServerClock()
        self._timing = timing or WebSocketTiming()
        self._connection: RPCConnection | None = None
        self._connect_lock = asyncio.Lock()
        self._supervisor = Supervisor()

    def __str__(self) -> str:
        return f"the server at {redact(self._url)}"

    @classmethod
    def from_settings(cls, settings: "Settings") -> Self:
        """Return the backend for the server at `REALTIME_WEBSOCKET_URL`."""
        from realtime_bridge_backends.websocket_settings import WebSocketSettings

        url = WebSocketSettings.load().url
        return cls(url, settings.secret_for(url))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        connection, self._connection = self._connection, None
        if connection:
            await connection.close()
        await self._supervisor.close()

    async def check(self) -> list[CheckResult]:
        """Call the server, and report whether it answers and has the same secret."""
        try:
            await self.positions([])
        except BackendAuthError as error:
            hint = "Use the same REALTIME_SECRET on both machines, and synchronize their clocks"
            return [CheckResult(check="server", status="failed", detail=str(error), hint=hint)]
        except PublishError as error:
            return [CheckResult(check="server", status="failed", detail=str(error))]
        same = CheckResult(check="server", status="ok", detail="answers, and has the same secret")
        return [same, *self._check_clock()]

    def _check_clock(self) -> Iterator[CheckResult]:
        if correction := self._clock.correction:
            detail = f"the server's is {correction:+.0f} s away; calls are signed with its time"
            hint = "Synchronize the clocks of both machines"
            yield CheckResult(check="clock", status="warning", detail=detail, hint=hint)

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        """Append on the server, whose feed delivers to its clients."""
        receipts: list[Receipt] = []
        for chunk in _chunks(events):
            answer = await self._call("append", events=[rpc.pack_event(event) for event in chunk])
            receipts += map(rpc.unpack_receipt, answer["receipts"])
        return receipts

    async def append_joined(self, batches: Sequence[Sequence[Event]]) -> list[Result]:
        """Append each batch on the server, all in one call."""
        packed = [[rpc.pack_event(event) for event in batch] for batch in batches]
        answer = await self._call("append", batches=packed)
        return [
            _to_error(result["error"])
            if isinstance(result, dict)
            else list(map(rpc.unpack_receipt, result))
            for result in answer["results"]
        ]

    async def read(self, channel: str, after: Position, limit: int = PAGE_EVENTS) -> Page | Reset:
        """Return the events after a position on the server, or a reset."""
        answer = await self._call("read", channel=channel, after=after.to_json(), limit=limit)
        return rpc.unpack_answer(answer)

    async def positions(self, channels: Iterable[str]) -> dict[str, Position]:
        """Return each channel's top on the server."""
        answer = await self._call("positions", channels=list(channels))
        return {name: Position.from_json(top) for name, top in answer["positions"].items()}

    async def latest(
        self, channel: str, *, after: int = 0, limit: int = PAGE_EVENTS, key: str | None = None
    ) -> Page:
        """Return the latest event of each key on the server, or the state of one."""
        answer = await self._call("latest", channel=channel, after=after, limit=limit, key=key)
        page = rpc.unpack_answer(answer)
        assert isinstance(page, Page)
        return page

    async def renew(self, leases: Sequence[Lease]) -> list[Renewal]:
        """Restart leases on the server."""
        answer = await self._call("renew", leases=[rpc.pack_lease(lease) for lease in leases])
        return [rpc.unpack_renewal(renewal) for renewal in answer["renewals"]]

    async def rotate_epoch(self, channel: str, expected_epoch: str) -> Position:
        """Begin a new epoch on the server if `expected_epoch` is still the channel's."""
        answer = await self._call("rotate_epoch", channel=channel, expected_epoch=expected_epoch)
        return Position.from_json(answer["position"])

    async def _call(self, name: str, **fields: Any) -> dict[str, Any]:
        try:
            connection = self._connection
            if connection is None or connection.is_lost:
                # One deadline for both; a call alone has that of its connection.
                async with asyncio.timeout(self._timing.call_seconds):
                    connection = await self._connect()
                    answer = await connection.call(name, fields)
            else:
                answer = await connection.call(name, fields)
        except TimeoutError as error:
            raise BackendUnavailableError(
                f"{self} did not answer {name!r} within {self._timing.call_seconds:g} s: check "
                "that it runs and can be reached. Publishing the same id again is safe"
            ) from error
        except (ConnectionClosed, *CONNECTION_ERRORS) as error:
            raise BackendUnavailableError(
                f"{self} closed the connection during {name!r}: publish again with the same id"
            ) from error
        if "error" in answer:
            raise _to_error(answer["error"])
        return answer

    async def _connect(self) -> RPCConnection:
        async with self._connect_lock:  # parallel first calls share one connection
            if self._connection is None or self._connection.is_lost:
                self._connection = RPCConnection(
                    await self._open(), self._supervisor, self._timing.call_seconds
                )
            return self._connection

    async def _open(self) -> MessageConnection:
        try:
            try:
                return await self._handshake()
            except InvalidStatus as error:
                if not self._clock.correct(_body(error), time.time()):
                    raise
                _logger.warning(
                    "clock corrected: server=%s seconds=%+.1f; synchronize this machine's clock",
                    redact(self._url),
                    self._clock.correction,
                )
                return await self._handshake()
        except InvalidStatus as error:
            raise self._rejection(error) from error
        except (InvalidURI, ValueError):
            # Without the error: it quotes the whole address.
            raise ConfigurationError(
                "REALTIME_WEBSOCKET_URL is malformed: write the address at which the server is "
                "mounted, like https://example.com/realtime"
            ) from None
        except (InvalidHandshake, *CONNECTION_ERRORS) as error:
            raise BackendUnavailableError(
                f"{self} cannot be reached ({str(error) or 'no answer in time'}): start it with "
                "`realtime-bridge serve`, or set REALTIME_WEBSOCKET_URL to its address"
            ) from error

    async def _handshake(self) -> MessageConnection:
        timestamp = self._clock.timestamp(time.time())
        connection = await connect(
            f"{self._url.replace('http', 'ws', 1)}/publish",
            additional_headers=rpc.signed_headers(self._secret, timestamp, b""),
            create_connection=MessageConnection,
            compression=None,  # events are small, and the connection is usually local
            max_size=2 * rpc.MAX_CALL_BYTES,  # a page of events, with its JSON around it
            open_timeout=self._timing.connect_seconds,
            close_timeout=self._timing.connect_seconds,
            proxy=None if is_loopback(urlsplit(self._url).hostname or "") else True,
        )
        assert isinstance(connection, MessageConnection)
        try:
            nonce = str(orjson.loads(await connection.recv())["nonce"])
            proof = rpc.sign_nonce(self._secret, nonce)
            await connection.send(orjson.dumps({"proof": proof}).decode())
        except BaseException as error:
            connection.transport.abort()
            if isinstance(error, KeyError | TypeError | ValueError):
                # Another program answers at this address, or another version of this one.
                raise InvalidHandshake("the server sent no nonce") from error
            raise
        return connection

    def _rejection(self, error: InvalidStatus) -> PublishError:
        status = error.response.status_code
        if status in (401, 403):
            return BackendAuthError(f"{self} rejected the connection: {_reason(error)}")
        return BackendUnavailableError(
            f"{self} answered {status}: check that the bridge is mounted there, and "
            "REALTIME_WEBSOCKET_URL",
            retryable=status >= 500,  # noqa: PLR2004 -- an error of the server, not of the address
        )


def _chunks(events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    """Divide a batch into chunks of at most `APPEND_BYTES`."""
    start = size = 0
    for end, event in enumerate(events):
        if size + len(event.body) > APPEND_BYTES and end > start:
            yield events[start:end]
            start, size = end, 0
        size += len(event.body)
    if events:
        yield events[start:]


def _to_error(fields: dict[str, Any]) -> RealtimeError:
    if fields["invalid"]:
        return InvalidEventError(fields["message"])
    return PublishError(fields["message"], retryable=fields["retryable"])


def _reason(error: InvalidStatus) -> str:
    """Return the server's message, which never holds a secret, or a hint."""
    try:
        return str(_body(error)["error"]["message"])
    except (KeyError, TypeError):
        return "check that both have the same REALTIME_SECRET"


def _body(error: InvalidStatus) -> Any:
    """Return the JSON of a refusal, or None."""
    try:
        return orjson.loads(error.response.body or b"")
    except orjson.JSONDecodeError:
        return None
