"""Ordered, bounded record of every channel."""

import time
from abc import abstractmethod
from collections.abc import Awaitable, Iterable, Sequence
from typing import ClassVar

from realtime_bridge.backend.component import Component
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import PAGE_EVENTS, Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.model.reset import Reset

_STARTED = int(time.time())


class Log(Component):
    """Gives events their positions, and keeps each channel's bounded history."""

    remote_access_via: ClassVar[str | None] = None
    """The backend by which another process appends to this log, if it cannot do so itself."""

    in_process: ClassVar[bool] = False
    """Whether an append waits for nobody and cannot be lost: no time limit then, and no retry."""

    @abstractmethod
    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        """Number, store, trim and announce each event, in order; a known `id` only once.

        Raises:
            PublishError: not stored, or not known to be; appending the same ids again is safe.

        """

    @abstractmethod
    async def read(self, channel: str, after: Position, limit: int = PAGE_EVENTS) -> Page | Reset:
        """Return what follows `after` without a gap, or a reset: all or nothing.

        A position with an `id` is checked against the event that the log has there.
        """

    @abstractmethod
    async def positions(self, channels: Iterable[str]) -> dict[str, Position]:
        """Return each channel's top with its id, beginning an epoch where there is none."""

    @abstractmethod
    async def latest(self, channel: str, *, after: int = 0, limit: int = PAGE_EVENTS) -> Page:
        """Return the latest event of each key beyond offset `after`, by offset, and the top."""

    async def generation(self, configuration: str) -> int:  # noqa: ARG002 -- others remember it
        """Return the generation of this delivering configuration; it grows when that changes.

        A log that cannot remember an earlier process's gives each process a greater one.
        """
        return _STARTED

    @abstractmethod
    async def rotate_epoch(self, channel: str, expected_epoch: str) -> Position:
        """End `expected_epoch` if it is still the channel's epoch, and return the position then."""


class TransactionalLog(Log):
    """A log in the database of an application's own transactions."""

    @abstractmethod
    def append_in_transaction(
        self, transaction: object, events: Sequence[Event]
    ) -> Awaitable[None] | None:
        """Write the events through the caller's connection; they are numbered when it commits.

        Args:
            transaction: the connection or session that has the transaction.
            events: what to append; if it rolls back, they never were.

        Returns:
            What to await, where that connection is async.

        Raises:
            ConfigurationError: this is no connection that the log knows how to use.

        """
