"""The three abilities of a backend, each a type: `Log`, `Feed`, `Backend`."""

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from msgspec import Struct

from realtime_bridge.event import Event, Position

if TYPE_CHECKING:
    from realtime_bridge.settings import Settings

PAGE_EVENTS = 500
"""The most events of one page."""

PAGE_BYTES = 512 * 1024
"""The most bytes of data in one page, unless its first event alone is larger."""

MAX_BATCH = 500
"""The most events of one append."""

_STARTED = int(time.time())

ResetReason = Literal["epoch", "truncated", "ahead", "regressed", "forbidden", "signal"]


class Receipt(Struct, frozen=True, kw_only=True, gc=False):
    """What became of one published event.

    Args:
        id: the event's idempotency key.
        position: its place in the channel; None in signal mode, or when it is numbered later.
        duplicate: this `id` was published before, and that publish's position is returned.
        pushed: False when the log has it but the push failed; recovery delivers it.

    """

    id: str
    position: Position | None = None
    duplicate: bool = False
    pushed: bool = True


class Page(Struct, frozen=True, kw_only=True, gc=False):
    """Events in order, the channel's `top`, and whether there is `more` before it."""

    events: tuple[Event, ...]
    top: Position
    more: bool = False


class Reset(Struct, frozen=True, kw_only=True, gc=False):
    """There is no contiguous way on from the asked position: load a snapshot, go on from `top`."""

    reason: ResetReason
    top: Position


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The feed may have missed announcements: compare positions, and recover."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one push takes: bytes of an encoded event, events a call, channels a call."""

    event_bytes: int
    events: int
    channels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What `realtime-bridge doctor` found out about one thing.

    Args:
        check: what was looked at, in a few words, such as `redis: reachable`.
        verdict: `ok`, `warning` (it works, but not as it should), or `failed`.
        detail: what was seen; never a secret.
        cure: what to do about it; None when there is nothing to do.

    """

    check: str
    verdict: Literal["ok", "warning", "failed"]
    detail: str
    cure: str | None = None


class Plugin(ABC):
    """What comes in through the entry point `realtime_bridge.backends`.

    Entering connects or prepares, leaving closes; a constructor does neither.
    """

    default_logs: ClassVar[tuple[str, ...]] = ()
    """The logs that `REALTIME_LOG=auto` means with this backend, the first configured one wins.

    Where none of several is configured, there is none.
    """

    reached_through: ClassVar[str | None] = None
    """The backend by which another process reaches this log, where it cannot do so itself."""

    @classmethod
    @abstractmethod
    def from_settings(cls, settings: "Settings") -> Self:
        """Make one from the configuration.

        Raises:
            ConfigurationError: what it needs is missing or malformed.

        """

    @classmethod
    def is_configured(cls) -> bool:
        """Tell whether the environment says where this is; a default address does not count."""
        return True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    async def diagnose(self) -> list[Finding]:
        """Look at whatever this needs to work, and say what was found; called when entered or not.

        What cannot be reached is a finding, not an error.
        """
        return []


class Log(Plugin):
    """Gives events their positions, and keeps each channel's bounded history."""

    immediate: ClassVar[bool] = False
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
    async def rotate(self, channel: str, seen_epoch: str) -> Position:
        """End `seen_epoch` if it is still the channel's epoch, and return the position then."""


class TransactionalLog(Log):
    """A log in the database of an application's own transactions."""

    @abstractmethod
    def append_within(self, transaction: object, events: Sequence[Event]) -> Awaitable[None] | None:
        """Write the events through the caller's connection; they are numbered when it commits.

        Args:
            transaction: the connection or session that has the transaction.
            events: what to append; if it rolls back, they never were.

        Returns:
            What to await, where that connection is async.

        Raises:
            ConfigurationError: this is no connection that the log knows how to use.

        """


class Listener(ABC):
    """One process's ear on a feed: what was appended to its channels since they were added."""

    @abstractmethod
    async def add(self, channels: Iterable[str]) -> None:
        """Hear these channels; when it returns, nothing appended later is missed."""

    @abstractmethod
    async def discard(self, channels: Iterable[str]) -> None:
        """Hear these channels no more."""

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[Sequence[Event] | Interrupted]:
        """Yield what was appended since the last turn, in order per channel, or `Interrupted`."""


class Feed(Plugin):
    """The ability to hear, in this process, what other processes appended."""

    @abstractmethod
    def listen(self) -> AbstractAsyncContextManager[Listener]:
        """Open a listener; leaving the context closes it and ends its stream."""


class Backend(Plugin):
    """Pushes events towards browsers, best effort, where the log's append does not announce."""

    limits: Limits

    @abstractmethod
    async def push(self, events: Sequence[Event]) -> None:
        """Hand the events to whoever delivers them.

        Raises:
            PublishError: they were not taken.

        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who asks a hosted provider's permission of us.

    Args:
        user: the user's id.
        client: the client's id: one page load, or one process.
        seconds: how long what is granted may last.
        allow: tells whether this user may listen to a channel, by the application's rules. What
            it raises is neither yes nor no: let it through.

    """

    user: str
    client: str
    seconds: float
    allow: Callable[[str], Awaitable[bool]]


class Hosted(Backend):
    """A backend whose browsers connect to a provider, and not to our server.

    The server names it in the descriptor, and answers the provider's own client where that asks
    whether a user may listen.
    """

    provider: ClassVar[str]
    """Which adapter clients load: the descriptor's `provider`, and the last part of `urls.auth`."""

    default_logs = ("redis", "postgres")

    @property
    @abstractmethod
    def options(self) -> Mapping[str, Any]:
        """What a client needs to find the provider, as JSON; never a secret."""

    @abstractmethod
    async def authorize(
        self, fields: Mapping[str, str], visitor: Visitor
    ) -> Mapping[str, Any] | None:
        """Answer the provider's client, in the provider's own words; None is a no, a 403.

        Args:
            fields: what it sent, as a form, a query or a JSON object of texts.
            visitor: who it speaks for.

        Raises:
            AuthRequestError: the fields are not what the provider's client sends.

        """
