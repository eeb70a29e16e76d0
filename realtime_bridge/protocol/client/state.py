"""State of the hybrid client's machine, with its timers, polls and pings.

Times are integers in milliseconds; docs/specification.md §5 has the rules.
"""

from operator import itemgetter

from realtime_bridge.protocol.client.commands import Action, Command, Mode, Options, Terms
from realtime_bridge.protocol.client.credentials import Credentials
from realtime_bridge.protocol.client.link_health import LinkHealth
from realtime_bridge.protocol.client.poll_schedule import PollSchedule
from realtime_bridge.protocol.client.reconnect_policy import ReconnectPolicy
from realtime_bridge.protocol.client.status import Kind, Status
from realtime_bridge.protocol.client.timing import Timing
from realtime_bridge.protocol.wire.close_codes import CloseCode

CONNECTED: tuple[Mode, ...] = ("LIVE", "SUSPECT")
"""Modes with a socket that was live."""

RESTING: tuple[Mode, ...] = ("IDLE", "PAUSED", "DENIED", "STOPPED")
"""Modes without a socket, a timer or a poll."""

MISSED_POLLS = 3
"""Number of intervals without a successful poll after which the status is not `polling`."""

BEHIND = "missing data is being read"
DOWN = "the server reports that its log or backend is down"
OVERDUE = "the server does not answer in time"
LAGGING = "messages arrive late"
UNPUSHED = "channels are polled: this connection does not carry them"

_TIME_AND_NAME = itemgetter(1, 0)
"""Order in which timers fire."""


class State:
    """State of one client.

    `timers` holds the time at which each timer fires; the timer `x` calls `_on_x`.
    """

    now: int = 0
    """Time of the inputs, by a monotonic clock in milliseconds: set before them."""
    draw: float = 0.0
    """Random number in [0, 1) for the inputs: set before them."""
    _sockets = 0
    _live_since = 0
    _refresh_at = 0
    _socket: int | None = None
    _successor: int | None = None
    _cached: Terms | None = None
    _window: int | None = None
    """Window of the server's last `drain`."""
    _may_return = False
    """True where the credentials were denied: another session of the user may be valid."""
    _hurry = False
    """True where the next descriptor leads to a socket at once."""
    _token_refused = False
    """True after a socket closed because of its token, until one is live."""
    _confirmed = False
    """True after a message on the live socket."""
    _polling_on = False
    """True while polls go on beside a socket, until the first one ends while LIVE."""
    _pausing = False
    """True while the page is hidden and may pause."""
    _poll_trouble = False
    """True where the server of the last successful poll reported a fault."""

    def __init__(self, options: Options, timing: Timing) -> None:
        self.timing = timing
        self.mode: Mode = "IDLE"
        self.reason: str | None = None
        self.terms: Terms | None = None
        self.timers: dict[str, int] = {}
        self.started: int = 0
        self.last_ok: int | None = None
        self.behind: int | None = None
        self.unpushed: int = 0
        """Number of channels that the live socket does not push: they are polled."""
        self.poll_schedule: PollSchedule = PollSchedule(options.polling_interval, timing)
        self.reconnect_policy: ReconnectPolicy = ReconnectPolicy(
            reconnect_interval=options.reconnect_interval,
            max_attempts=options.max_reconnect_attempts,
            timing=timing,
        )
        self.credentials: Credentials = Credentials(timing.denial_patience)
        self._options = options
        self._links: dict[int, LinkHealth] = {}
        """Health of each open socket."""
        self._commands: list[Command] = []

    @property
    def polling(self) -> bool:
        """True while the client polls."""
        if self.mode in ("FALLBACK", "UPGRADING", "SUSPECT"):
            return True
        return self.mode in ("LIVE", "PROBING", "CONNECTING") and (
            self._polling_on or self.trouble is not None or self.unpushed > 0
        )

    @property
    def trouble(self) -> str | None:
        """Reason why events do not arrive in time by the socket; None while they do."""
        link = None if self._socket is None else self._links.get(self._socket)
        if link is None:
            return None
        if link.is_down:
            return DOWN
        if link.is_overdue:
            return OVERDUE
        return LAGGING if link.is_lagging else None

    @property
    def describing(self) -> bool:
        """True while a request for a descriptor is in flight or planned soon."""
        return "describe" in self.timers or "describe_again" in self.timers

    @property
    def pushed(self) -> bool:
        """True while a live socket pushes events, and shows no trouble."""
        return self.mode == "LIVE" and self.trouble is None

    @property
    def complete(self) -> bool:
        """True while a live socket pushes the events of all channels, and no channel lacks any."""
        return self.pushed and self.behind is None and not self.unpushed

    def sync_changed(self, *, ok: bool, loaded: bool = True, unpushed: int = 0) -> None:
        """Record whether every channel has all its events.

        Args:
            ok: Whether every channel has all its events. If not for a while, a poll reads them.
            loaded: Whether every handler has its snapshot; only the status shows it.
            unpushed: Number of channels that the live socket does not push; new ones are polled at
                once.

        """
        if self.mode == "LIVE" and unpushed > self.unpushed:
            self._poll_within(0)
        self.unpushed = unpushed
        if ok and loaded:
            self.behind = None
        elif self.behind is None:
            self.behind = self.now
        if ok or self.mode not in CONNECTED:
            self._cancel("stale")
        else:
            self.timers.setdefault("stale", self.now + self.timing.late_after)

    def _on_poll(self) -> None:
        # Beside a socket without trouble, only the channels that it does not push need a poll.
        self._do("poll", self._socket if self.pushed and not self._polling_on else None)
        self.timers["poll_limit"] = self.now + self.timing.poll_timeout
        self.poll_schedule.begin()

    def _on_poll_limit(self) -> None:
        self._abandon_poll()

    def _poll_within(self, milliseconds: int) -> None:
        """Schedule a poll within `milliseconds`, unless one is in flight or due sooner."""
        if not self.poll_schedule.in_flight:
            at = self.poll_schedule.soon(self.now, self.draw, milliseconds)
            self.timers["poll"] = min(at, self.timers.get("poll", at))

    def _on_trouble_changed(self, before: str | None) -> None:
        if (self.trouble is None) != (before is None):
            self._poll_within(self.timing.first_poll_spread)

    def _replace_poll(self, within: int) -> None:
        """Replace the poll in flight: it may hang, or carry an old token."""
        if self.polling:
            self._abandon_poll()
            self._poll_within(within)

    def _abandon_poll(self) -> None:
        self._cancel("poll_limit")
        if self.poll_schedule.in_flight:
            self.poll_schedule.failed(self.now, self.draw)
            self._do("abandon")

    def _expect_message(self) -> None:
        """Restart the timer of the longest silence of a healthy server."""
        # A heartbeat slower than `fallback_delay` would make each idle socket look dead.
        heartbeat = (self.terms.heartbeat if self.terms else 0) + self.timing.silence_allowance
        self.timers["silence"] = self.now + max(self._options.fallback_delay, heartbeat)

    def _expect_heartbeat(self) -> None:
        """Restart the timer of the next heartbeat, which the server varies by 10 %."""
        heartbeat = (self.terms.heartbeat if self.terms else 0) * 11 // 10
        self.timers["beat"] = self.now + heartbeat + self.timing.late_after

    def _ping(self) -> None:
        """Ping the server. A second ping keeps the time limit of the first."""
        if self.timers.get("ping", 0) <= self.now:
            self.timers["ping"] = self.now + self.timing.ping_timeout
            self._do("ping", self._socket)

    def _open(self) -> int:
        self._sockets += 1
        current = self._socket, self._successor
        self._links = {number: link for number, link in self._links.items() if number in current}
        self._links[self._sockets] = LinkHealth()
        self._do("open", self._sockets)
        return self._sockets

    def _close_sockets(self) -> None:
        for socket in (self._socket, self._successor):
            if socket is not None:
                self._do("close", socket, CloseCode.NORMAL)
        self._socket = self._successor = self._window = None

    def _pause_later(self) -> None:
        if not self._pausing:
            self._cancel("hidden")
        elif self.mode not in RESTING:
            self.timers.setdefault("hidden", self.now + self.timing.hidden_pause)

    @property
    def wake_at(self) -> int | None:
        """Time of the next `tick`; None where no timer runs."""
        return min(self.timers.values(), default=None)

    def tick(self) -> None:
        """Fire the timers that are due: the earliest first, equal ones in alphabetical order."""
        while self.timers:
            name, due = min(self.timers.items(), key=_TIME_AND_NAME)
            if due > self.now:
                return
            # Deleted before the action, which may set the same timer again.
            del self.timers[name]
            getattr(self, f"_on_{name}")()

    def take_commands(self) -> list[Command]:
        """Bring the poll timer in line with the mode, and return the commands of all inputs."""
        if not self.polling:
            self._cancel("poll")
        elif not self.poll_schedule.in_flight and "poll" not in self.timers:
            self.timers["poll"] = self.poll_schedule.next(self.now, self.draw)
        if self.complete:
            self.last_ok = self.now
        commands, self._commands = self._commands, []
        return commands

    def connection_status(self, now: int) -> Status:
        """Return the status for users at `now`: never better than the connection."""
        if self.complete:
            return Status("realtime")
        if self.mode == "DENIED":
            return Status("error", self.reason)
        if self.mode in ("STOPPED", "IDLE", "PAUSED"):
            return Status("paused", self.reason)
        return Status(self._active_kind(now), self._active_reason)

    def _active_kind(self, now: int) -> Kind:
        """Return the kind for a client that is neither at rest nor fully synchronized by push."""
        if self.pushed and self.behind is not None:
            elapsed = now - self.behind
            if elapsed < self.timing.late_after:
                return self._patient_kind(elapsed)
        last_ok = self.last_ok
        if self.polling and last_ok is not None:
            limit = MISSED_POLLS * self.poll_schedule.usual
            if now - last_ok < limit:
                return "polling"
        if self.mode == "LIVE":
            return "delayed"
        quiet = now - max(self.started, last_ok or 0)
        return "offline" if quiet >= self.timing.offline_after else self._patient_kind(quiet)

    @property
    def _active_reason(self) -> str | None:
        if self.pushed:
            return f"{self.unpushed} {UNPUSHED}" if self.unpushed else BEHIND
        return self.trouble or self.reason

    def _patient_kind(self, elapsed: int) -> Kind:
        """Return `starting` for a short while: most connections are ready before it is read."""
        return "starting" if elapsed < self.timing.starting_period else "connecting"

    def _cancel(self, *names: str) -> None:
        for name in names:
            self.timers.pop(name, None)

    def _do(self, do: Action, socket: int | None = None, code: int | None = None) -> None:
        self._commands.append(Command(do, socket, code))
