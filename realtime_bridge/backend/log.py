"""Ordered, bounded record of every channel."""

import time
from abc import abstractmethod
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import ClassVar

from msgspec import Struct

from realtime_bridge.backend.component import Component
from realtime_bridge.errors import ConfigurationError, RealtimeError
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import PAGE_EVENTS, Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Lease, Receipt, Renewal
from realtime_bridge.model.reset import Reset

Result = list[Receipt] | RealtimeError
"""Receipts of a batch, or the error for which it was not appended."""

_STARTED = int(time.time())


class LogMetric(Struct, frozen=True, kw_only=True):
    """Metric of a log, for `GET metrics` of the server.

    Args:
        name: name without the application's prefix, such as `sqlite_commits`.
        kind: type in Prometheus's format: `gauge`, `counter` or `summary`.
        description: one sentence.
        samples: the values by the suffixes that they add to the name, such as `_total`.

    """

    name: str
    kind: str
    description: str
    samples: Mapping[str, float]


class Log(Component):
    """Ordered record: gives events their positions, and keeps each channel's bounded history."""

    remote_access_via: ClassVar[str | None] = None
    """Name of the backend through which other processes append, where they cannot directly."""

    in_process: ClassVar[bool] = False
    """An append waits for no other process and cannot fail halfway: no timeout, no retry."""

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        # An inherited `append_now` would go past an `append` that replaces the one beside it.
        names = {"append", "append_now"}
        nearest = next(base for base in cls.__mro__ if names & vars(base).keys())
        if "append_now" not in vars(nearest):
            cls.append_now = Log.append_now  # type: ignore[method-assign]

    @property
    def lineage(self) -> str | None:
        """Id of the stored history, by which two processes see that their files differ.

        It is None where no two processes can mistake one log for another, and before the start.
        """
        return None

    def metrics(self) -> Sequence[LogMetric]:
        """Return what this process measured about the log."""
        return ()

    @abstractmethod
    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        """Append each event in order: give its position, store, trim, announce; once per `id`.

        Raises:
            PublishError: the events were not stored, or that is unknown. Appending the same ids
                again is safe.

        """

    def append_now(self, event: Event) -> Receipt | None:  # noqa: ARG002
        """Append one event as `append` does, where that waits for nothing.

        Returns:
            The receipt; None, with nothing appended, where `append` has to be awaited.

        Raises:
            PublishError: as for `append`.

        """
        return None

    @abstractmethod
    async def read(self, channel: str, after: Position, limit: int = PAGE_EVENTS) -> Page | Reset:
        """Return the events after a position without a gap, or a reset.

        A position with an `id` is checked against the event that the log has there.
        """

    @abstractmethod
    async def positions(self, channels: Iterable[str]) -> dict[str, Position]:
        """Return each channel's top with its id; a new channel gets an epoch."""

    @abstractmethod
    async def latest(self, channel: str, *, after: int = 0, limit: int = PAGE_EVENTS) -> Page:
        """Return the latest event of each key beyond offset `after`, by offset, and the top."""

    async def generation(self, configuration: str) -> int:  # noqa: ARG002 -- logs that store it
        """Return the generation of a delivery configuration; it grows with each other one.

        A log without storage for it gives each process a greater generation.
        """
        return _STARTED

    @abstractmethod
    async def rotate_epoch(self, channel: str, expected_epoch: str) -> Position:
        """Start a new epoch if the channel's is `expected_epoch`, and return the channel's top.

        The latest event of each key stays, at the offsets from 1 on.
        """


class JoiningLog(Log):
    """Log that takes the batches of several publishes in one call."""

    @abstractmethod
    async def append_joined(self, batches: Sequence[Sequence[Event]]) -> list[Result]:
        """Append each batch as `append` does, in order, and return the result of each.

        They have at most 500 events together.

        Raises:
            PublishError: as for `append`, for all batches.

        """


class FoldingLog(Log):
    """Log that keeps keys with owners: docs/specification.md §2.6 has the rules."""

    @abstractmethod
    async def latest(
        self, channel: str, *, after: int = 0, limit: int = PAGE_EVENTS, key: str | None = None
    ) -> Page:
        """Return the latest event of each key beyond offset `after`, by offset, and the top.

        Of a key with an owner, the page has the events that describe its state: base, notes and
        end, and with `key` all its items as one event. Keys are ordered by their last event here,
        and the events of one key are never divided between two pages.

        Args:
            channel: the channel.
            after: offset beyond which keys are returned.
            limit: number of events, beyond which no other key is added.
            key: the only key of the page.

        """

    @abstractmethod
    async def renew(self, leases: Sequence[Lease]) -> list[Renewal]:
        """Restart leases, and return the result of each; append nothing for their sake.

        Raises:
            BackendUnavailableError: the log did not answer; renewing again is safe.

        """


def require_folding(log: Log | None) -> FoldingLog:
    """Return the log, as one that keeps keys with owners.

    Raises:
        ConfigurationError: it keeps none, or there is no log.

    """
    if not isinstance(log, FoldingLog):
        missing = "" if log is None else f" that keeps keys with owners, and {log} keeps none"
        raise ConfigurationError(
            f"Streams need a log{missing}: set REALTIME_LOG to memory, sqlite, redis or postgres"
        )
    return log


class TransactionalLog(Log):
    """Log in the database of an application's own transactions."""

    @abstractmethod
    def append_in_transaction(
        self, transaction: object, events: Sequence[Event]
    ) -> Awaitable[None] | None:
        """Write the events through the caller's connection; the commit gives them positions.

        Args:
            transaction: connection or session that has the transaction.
            events: events to append; a rollback removes them.

        Returns:
            The awaitable of the write, where that connection is async.

        Raises:
            ConfigurationError: the log cannot use this kind of connection.

        """
