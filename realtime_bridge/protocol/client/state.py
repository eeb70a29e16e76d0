"""What the hybrid client's state machine knows, and how it polls, listens and sets its timers.

All times are integers in milliseconds; rules and numbers are those of docs/specification.md §5.
"""

from realtime_bridge.protocol.client.commands import Action, Command, Mode, Options, Terms
from realtime_bridge.protocol.client.poll_schedule import LIMIT_MS, PollSchedule
from realtime_bridge.protocol.client.reconnect_policy import ReconnectPolicy

PING_MS, SILENCE_MS = 3_000, 5_000
"""How long an answer may take, and how much longer than a heartbeat silence may last."""

NORMAL = 1000


class State:
    """One client's state.

    `timers` holds what is due when; the timer called `x` is answered by `_on_x`.
    """

    def __init__(self, options: Options) -> None:
        self.mode: Mode = "IDLE"
        self.reason: str | None = None
        self.terms: Terms | None = None
        self.timers: dict[str, int] = {}
        self.started = 0
        self.last_ok: int | None = None
        self.behind: int | None = None
        self.degraded = False
        self.poll_schedule = PollSchedule(options.polling_interval)
        self.reconnect_policy = ReconnectPolicy(
            reconnect_interval=options.reconnect_interval,
            max_attempts=options.max_reconnect_attempts,
        )
        self._options = options
        self._now, self._draw = 0, 0.0
        self._commands: list[Command] = []
        self._sockets, self._live_since, self._refresh_at = 0, 0, 0
        self._socket: int | None = None
        self._successor: int | None = None
        self._cached: Terms | None = None
        self._window: int | None = None
        self._renewed = self._hurry = self._heard = False
        self._polling_on = self._pausing = False

    @property
    def polling(self) -> bool:
        """Whether polls are wanted now."""
        if self.mode in ("FALLBACK", "UPGRADING", "SUSPECT"):
            return True
        return self.mode in ("LIVE", "PROBING", "CONNECTING") and (
            self._polling_on or self.degraded
        )

    @property
    def pushed(self) -> bool:
        """Whether events come by a socket that is good, from a server that says it is well."""
        return self.mode == "LIVE" and not self.degraded

    @property
    def _good(self) -> bool:
        """Whether there is a socket that was good."""
        return self.mode in ("LIVE", "SUSPECT")

    @property
    def _silence(self) -> int:
        """The longest that nothing need be heard of the server."""
        heartbeat = self.terms.heartbeat if self.terms else 0
        return max(self._options.fallback_delay, heartbeat + SILENCE_MS)

    def _on_poll(self) -> None:
        self.poll_schedule.begin()
        self.timers["poll_limit"] = self._now + LIMIT_MS
        self._do("poll")

    def _on_poll_limit(self) -> None:
        self._abandon_poll()

    def _poll_within(self, milliseconds: int) -> None:
        """Poll so soon, unless a poll is on its way, or comes sooner; `_settle` knows if at all."""
        if not self.poll_schedule.in_flight:
            at = self.poll_schedule.soon(self._now, self._draw, milliseconds)
            self.timers["poll"] = min(at, self.timers.get("poll", at))

    def _poll_anew(self, within: int) -> None:
        """Poll in place of one that may be stuck, or was sent with a token of before."""
        if self.polling:
            self._abandon_poll()
            self._poll_within(within)

    def _abandon_poll(self) -> None:
        self._cancel("poll_limit")
        if self.poll_schedule.in_flight:
            self.poll_schedule.failed(self._now, self._draw)
            self._do("abandon")

    def _listen(self) -> None:
        self.timers["silence"] = self._now + self._silence

    def _ping(self) -> None:
        """Ask whether anybody is there; to ask again meanwhile gives no more time."""
        if self.timers.get("ping", 0) <= self._now:
            self.timers["ping"] = self._now + PING_MS
            self._do("ping", self._socket)

    def _open(self) -> int:
        self._sockets += 1
        self._do("open", self._sockets)
        return self._sockets

    def _close_sockets(self) -> None:
        for socket in (self._socket, self._successor):
            if socket is not None:
                self._do("close", socket, NORMAL)
        self._socket = self._successor = self._window = None

    def _settle(self) -> list[Command]:
        """Bring the poll timer in line with the mode, and hand out the commands."""
        if not self.polling:
            self._cancel("poll")
        elif not self.poll_schedule.in_flight and "poll" not in self.timers:
            self.timers["poll"] = self.poll_schedule.next(self._now, self._draw)
        if self.pushed:
            self.last_ok = self._now
        commands, self._commands = self._commands, []
        return commands

    def _cancel(self, *names: str) -> None:
        for name in names:
            self.timers.pop(name, None)

    def _do(self, do: Action, socket: int | None = None, code: int | None = None) -> None:
        self._commands.append(Command(do, socket, code))
