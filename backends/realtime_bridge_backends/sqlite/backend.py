"""Log and feed in a file: one writer at a time, so offsets have no gaps."""

import asyncio
import weakref
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from sqlite3 import Connection
from types import TracebackType
from typing import TYPE_CHECKING, Self

from realtime_bridge.backend.component import CheckResult
from realtime_bridge.backend.feed import EphemeralFeed, Listener
from realtime_bridge.backend.listable_log import ListableLog
from realtime_bridge.backend.log import FoldingLog, LogMetric
from realtime_bridge.backend.plugin import Plugin
from realtime_bridge.backend.unreadable import UnreadableEvents
from realtime_bridge.errors import ConfigurationError, RealtimeError
from realtime_bridge.model.ephemeral_event import EphemeralEvent
from realtime_bridge.model.event import Event
from realtime_bridge.model.fork import after_fork_in_child
from realtime_bridge.model.page import PAGE_EVENTS, Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Lease, Receipt, Renewal
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.retention import Retention
from realtime_bridge_backends.sqlite.checks import check_path
from realtime_bridge_backends.sqlite.doctor import run_checks
from realtime_bridge_backends.sqlite.errors import to_publish_error
from realtime_bridge_backends.sqlite.listener import SQLiteListener
from realtime_bridge_backends.sqlite.metrics import log_metrics
from realtime_bridge_backends.sqlite.queries import Reader
from realtime_bridge_backends.sqlite.session import Session
from realtime_bridge_backends.sqlite.timing import SQLiteTiming

if TYPE_CHECKING:
    from realtime_bridge.settings import Settings


class SQLiteBackend(ListableLog, FoldingLog, EphemeralFeed, Plugin):
    """Log and feed in one file; every process of this machine may append and listen.

    Args:
        path: absolute path of the file; it is created when absent.
        prefix: the application's; a file belongs to one prefix.
        retention: the history that a channel keeps.
        timing: time limits.

    Raises:
        ConfigurationError: the path is relative. On entering: it is on a file system without
            shared memory, writable by everyone, or another application's.

    """

    def __init__(
        self,
        path: str | Path,
        *,
        prefix: str = "realtime",
        retention: Retention | None = None,
        timing: SQLiteTiming | None = None,
    ) -> None:
        self._path = Path(path)
        if not self._path.is_absolute():
            raise ConfigurationError(
                f"The log's path {str(path)!r} is relative: write an absolute one, since server "
                "and workers start in different folders"
            )
        self._prefix = prefix
        self._retention = retention or Retention()
        self._timing = timing or SQLiteTiming()
        self._unreadable = UnreadableEvents(str(self))
        self._is_entered = False
        self._session: Session | None = None
        self._opening: asyncio.Lock = asyncio.Lock()
        self._inherited: list[Session] = []
        """Sessions of the process that was forked; a reference keeps them open."""
        _instances.add(self)

    def __str__(self) -> str:
        return f"the SQLite log {self._path}"

    @classmethod
    def from_settings(cls, settings: "Settings") -> Self:
        """Return a log in the file at `REALTIME_SQLITE_PATH`."""
        from realtime_bridge_backends.sqlite.settings import SQLiteSettings

        path = SQLiteSettings.required_path()
        return cls(path, prefix=settings.prefix, retention=settings.retention)

    @classmethod
    def is_configured(cls) -> bool:
        """Return whether the environment names a file."""
        from realtime_bridge_backends.sqlite.settings import SQLiteSettings

        return SQLiteSettings.load().path is not None

    @property
    def lineage(self) -> str | None:
        """Lineage of the file, while this process has it open."""
        return self._session.lineage if self._session else None

    def metrics(self) -> Sequence[LogMetric]:
        """Return the counts of this process, while it has the file open."""
        return log_metrics(self._session.writer) if self._session else ()

    async def check(self) -> list[CheckResult]:
        """Check the file, its disk and its locks, and ring the listeners."""
        return await asyncio.to_thread(run_checks, self._path)

    async def __aenter__(self) -> Self:
        self._is_entered = True
        try:
            await self._open()
        except BaseException:
            self._is_entered = False
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_entered = False
        session, self._session = self._session, None
        if session:
            await asyncio.to_thread(session.close)

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        """Append in one transaction, which may have the events of other callers too."""
        if not events:
            return []
        session = self._session
        if session is None or session.is_over:  # without a call, where it is open
            session = await self._open()
        return await session.write(lambda change: change.append(events), events)

    async def read(self, channel: str, after: Position, limit: int = PAGE_EVENTS) -> Page | Reset:
        """Return the events after a position, or a reset."""
        return await self._page(channel, after, limit)

    async def oldest(self, channel: str, limit: int = PAGE_EVENTS) -> Page | Reset:
        """Return the oldest events of a channel."""
        return await self._page(channel, None, limit)

    async def _page(self, channel: str, after: Position | None, limit: int) -> Page | Reset:
        session = await self._open()

        def read(connection: Connection) -> Page | Reset | None:
            return self._reader(connection).page(channel, after, limit)

        answer = await session.read(read)
        while answer is None:  # a lease may run out in between, each time
            await self._prepare([channel])
            answer = await session.read(read)
        return answer

    async def positions(self, channels: Iterable[str]) -> dict[str, Position]:
        """Return each channel's top."""
        names = list(channels)
        session = await self._open()
        tops = await session.read(lambda connection: self._reader(connection).positions(names))
        if missing := [name for name in names if name not in tops]:
            tops |= await self._prepare(missing)
        return tops

    async def latest(
        self, channel: str, *, after: int = 0, limit: int = PAGE_EVENTS, key: str | None = None
    ) -> Page:
        """Return the latest event of each key, or the state of one."""
        session = await self._open()

        def read(connection: Connection) -> Page | None:
            return self._reader(connection).latest(channel, after, limit, key)

        page = await session.read(read)
        while page is None:  # a lease may run out in between, each time
            await self._prepare([channel])
            page = await session.read(read)
        return page

    async def renew(self, leases: Sequence[Lease]) -> list[Renewal]:
        """Restart leases in one transaction."""
        if not leases:
            return []
        session = await self._open()
        return await session.write(lambda change: change.renew(leases))

    async def rotate_epoch(self, channel: str, expected_epoch: str) -> Position:
        """Begin a new epoch if `expected_epoch` is still the channel's."""
        session = await self._open()
        return await session.write(lambda change: change.rotate_epoch(channel, expected_epoch))

    async def generation(self, configuration: str) -> int:
        """Return the generation of this configuration, stored in the file."""
        session = await self._open()
        return await session.write(lambda change: change.generation(configuration))

    async def channels(self, *, stored: bool = False) -> Sequence[str]:
        """Return the channels of the file."""
        session = await self._open()
        return await session.read(lambda connection: self._reader(connection).names(stored=stored))

    async def send_ephemeral(self, event: EphemeralEvent) -> None:
        """Send an event that no log keeps to the bells of the listeners."""
        session = await self._open()
        await session.send(event.encode())

    @asynccontextmanager
    async def listen(self) -> AsyncGenerator[Listener]:
        """Open a listener, with a bell of its own."""
        listener = SQLiteListener(
            self._path,
            open_session=self._open,
            open_channels=self._prepare,
            unreadable=self._unreadable,
            poll_seconds=self._timing.poll_seconds,
        )
        async with listener:
            yield listener

    def _reader(self, connection: Connection) -> Reader:
        return Reader(connection, self._retention, self._unreadable)

    async def _prepare(self, channels: Iterable[str]) -> dict[str, Position]:
        """Give channels their epochs, end their silent owners, and return their tops."""
        names = list(channels)  # a transaction may run twice
        session = await self._open()
        return await session.write(lambda change: change.open(names))

    async def _open(self) -> Session:
        """Return this process's session; after a fork, or a change of the file, a new one."""
        session = self._session
        if session is not None and not session.is_over:
            return session
        if not self._is_entered:
            raise ConfigurationError(
                f"{self} is not open: enter the broadcaster by `async with` before a publish"
            )
        async with self._opening:
            if self._session is None or self._session.is_over:
                former, self._session = self._session, None
                if former:
                    await asyncio.to_thread(former.close)
                self._session = await asyncio.to_thread(self._create_session)
            return self._session

    def _create_session(self) -> Session:
        check_path(self._path)
        try:
            return Session(self._path, self._prefix, self._retention, self._timing)
        except RealtimeError:
            raise
        except Exception as error:
            raise to_publish_error(error, str(self)) from error

    def _reset_after_fork(self) -> None:
        """Forget the parent's session: SQLite allows no use of it here, not even its close."""
        session, self._session = self._session, None
        self._opening = asyncio.Lock()
        if session:
            session.forget()
            self._inherited.append(session)


_instances: weakref.WeakSet[SQLiteBackend] = weakref.WeakSet()


def _reset_all_after_fork() -> None:
    for backend in list(_instances):
        backend._reset_after_fork()


after_fork_in_child(_reset_all_after_fork)
