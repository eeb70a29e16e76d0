"""What each state of the hybrid client leads to: the rules, without the door they come in by.

All times are integers in milliseconds. The rules and their numbers are those of SEMANTICS §5.
"""

from typing import Literal

from realtime_bridge.protocol.attempts import Attempts
from realtime_bridge.protocol.cadence import LIMIT_MS, Cadence
from realtime_bridge.protocol.commands import Action, Command, Mode, Options, Terms

BOOT_MS, SLOW_MS, OPEN_MS, PROBE_MS, PING_MS, SILENCE_MS = 8_000, 2_500, 10_000, 5_000, 3_000, 5_000
HIDDEN_MS = 300_000
FIRST_POLL_MS = 1_000
"""After a loss, clients begin to poll within so long, at random."""

WAKE_MS = 500
"""When the network is back, clients reconnect within so long, at random."""

NORMAL, RESTART, TOKEN, DISABLED = 1000, 1012, 4401, 4410
FINAL = (4400, 4403)
RESTING = ("IDLE", "PAUSED", "DENIED", "STOPPED")


class Transitions:
    """One client's state, and what becomes of it.

    `timers` holds what is due when; the timer called `x` is answered by `_on_x`.
    """

    def __init__(self, options: Options) -> None:
        self.mode: Mode = "IDLE"
        self.reason: str | None = None
        self.terms: Terms | None = None
        self.timers: dict[str, int] = {}
        self.started = 0
        self.last_ok: int | None = None
        self.cadence = Cadence(options.polling_interval)
        self.attempts = Attempts(
            reconnect_interval=options.reconnect_interval,
            max_attempts=options.max_reconnect_attempts,
        )
        self._options = options
        self._now, self._draw = 0, 0.0
        self._commands: list[Command] = []
        self._sockets = 0
        self._socket: int | None = None
        self._successor: int | None = None
        self._cached: Terms | None = None
        self._renewed = False
        self._hurry = False
        self._polling_on = False
        self._degraded = False
        self._live_since = 0
        self._heard = False
        self._hidden = self._offline = False

    @property
    def polling(self) -> bool:
        """Whether polls are wanted now."""
        if self.mode in ("FALLBACK", "UPGRADING", "SUSPECT"):
            return True
        return self.mode in ("LIVE", "PROBING", "CONNECTING") and (
            self._polling_on or self._degraded
        )

    @property
    def _good(self) -> bool:
        """Whether there is a socket that was good."""
        return self.mode in ("LIVE", "SUSPECT")

    def _on_describe(self) -> None:
        self._undescribed(None)

    def _on_describe_again(self) -> None:
        self._describe()

    def _on_refresh(self) -> None:
        self._describe()

    def _on_slow(self) -> None:
        self.mode = "UPGRADING"
        self._poll_within(0)

    def _on_open(self) -> None:
        self._give_up("the socket did not open")

    def _on_probe(self) -> None:
        self._give_up("nobody answered on the socket")

    def _on_silence(self) -> None:
        self.mode = "SUSPECT"
        self._ping()
        self._poll_within(0)

    def _on_ping(self) -> None:
        self._give_up("the socket went silent")

    def _on_reconnect(self) -> None:
        self._connect("UPGRADING")

    def _on_successor(self) -> None:
        if self._good and self._successor is None:
            self._open_successor()

    def _on_successor_limit(self) -> None:
        self._do("close", self._successor, NORMAL)
        self._lose_successor()

    def _on_hidden(self) -> None:
        self._rest("PAUSED", "nobody is looking")

    def _on_poll(self) -> None:
        self.cadence.begin()
        self.timers["poll_limit"] = self._now + LIMIT_MS
        self._do("poll")

    def _on_poll_limit(self) -> None:
        self.cadence.end(asked=None)

    def _boot(self) -> None:
        self.mode = "BOOT"
        self._describe()

    def _describe(self, do: Literal["describe", "renew"] = "describe") -> None:
        self._cancel("describe_again", "refresh")
        self.timers["describe"] = self._now + BOOT_MS
        self._do(do)

    def _undescribed(self, status: int | None) -> None:
        self._cancel("describe")
        if self.mode in RESTING:
            return
        self.reason = f"no descriptor: {status or 'no answer'}"
        if status in (401, 403):
            self._unauthorised(self.reason)
        elif self.mode == "BOOT" and self._cached:
            self.terms, self._cached = self._cached, None
            self._fall(self.reason)
        else:
            self.attempts.failures += 1
            self.timers["describe_again"] = self._now + self.attempts.backoff(self._draw)

    def _unauthorised(self, reason: str) -> None:
        """Renew the credentials once, then take no for an answer."""
        if self.mode in RESTING:
            return
        if self._renewed:
            self._rest("DENIED", reason)
            return
        self._renewed = True
        self._describe("renew")

    def _connect_first(self) -> None:
        self._connect("CONNECTING")
        self.timers["slow"] = self._now + SLOW_MS

    def _connect(self, mode: Literal["CONNECTING", "UPGRADING"]) -> None:
        self.mode = mode
        self._cancel("reconnect")
        self._socket = self._open()
        self.timers["open"] = self._now + OPEN_MS

    def _probe(self) -> None:
        self.mode = "PROBING"
        self._cancel("slow", "open")
        self.timers["probe"] = self._now + PROBE_MS
        self._do("probe", self._socket)

    def _go_live(self) -> None:
        self.mode = "LIVE"
        self.reason = None
        self._cancel("probe", "successor", "successor_limit", "ping", "reconnect")
        self._renewed = self._heard = False
        self._live_since = self._now
        self._listen()
        if self.terms and self.terms.max_age is not None:
            age = round(self.terms.max_age * (0.8 + 0.15 * self._draw))
            self.timers["successor"] = self._now + age

    def _listen(self) -> None:
        heartbeat = self.terms.heartbeat if self.terms else 0
        silence = max(self._options.fallback_delay, heartbeat + SILENCE_MS)
        self.timers["silence"] = self._now + silence

    def _ping(self) -> None:
        self.timers["ping"] = self._now + PING_MS
        self._do("ping", self._socket)

    def _open(self) -> int:
        self._sockets += 1
        self._do("open", self._sockets)
        return self._sockets

    def _open_successor(self) -> None:
        self._successor = self._open()
        self.timers["successor_limit"] = self._now + OPEN_MS

    def _lose_successor(self) -> None:
        self._successor = None
        self._cancel("successor_limit")
        self.timers["successor"] = self._now + self.attempts.backoff(self._draw)

    def _give_up(self, reason: str) -> None:
        self._do("close", self._socket, NORMAL)
        self._lost(1006, reason, None)

    def _lost(self, code: int, reason: str, window: int | None) -> None:
        """Go on without the socket: to its successor, to polling, or nowhere."""
        if self.mode == "LIVE":
            self.last_ok = self._now
        if self._good:
            self.attempts.lived(self._live_since, self._now, heard=self._heard)
        self._socket = None
        if code in FINAL:
            self._rest("DENIED", reason)
        elif code == DISABLED:
            self._rest("STOPPED", reason)
        elif self._successor is not None:
            self._promote_successor()
        else:
            self._fall(reason, code, window)
            if code == TOKEN:
                self._renew_token()

    def _promote_successor(self) -> None:
        self._cancel("silence", "ping", "successor")
        self._socket, self._successor = self._successor, None
        self.mode = "UPGRADING"
        self.timers["open"] = self.timers.pop("successor_limit")
        self._poll_within(FIRST_POLL_MS)

    def _renew_token(self) -> None:
        if not self._renewed:
            self._renewed = self._hurry = True
            self._cancel("reconnect")
            self._describe("renew")

    def _fall(self, reason: str, code: int = 1006, window: int | None = None) -> None:
        was_polling = self.polling
        self.mode, self.reason = "FALLBACK", reason
        self._polling_on = False
        self._cancel("slow", "open", "probe", "silence", "ping", "successor", "reconnect")
        if not was_polling:
            self._poll_within(FIRST_POLL_MS)
        if self.terms and self.terms.mode == "realtime":
            again = self.attempts.next(self._now, self._draw, code=code, window=window)
            self.timers["reconnect"] = again

    def _poll_only(self) -> None:
        self._close_sockets()
        self._fall("the server asks for polling")

    def _wake(self) -> None:
        """Make up for lost time: the network, the page or the clock is back."""
        self.attempts.forget()
        if self._good:
            self._ping()
            self._polling_on = True
            self._poll_within(0)
        elif "reconnect" in self.timers:
            self.timers["reconnect"] = self.attempts.soon(self._now, self._draw, WAKE_MS)
            self._poll_within(FIRST_POLL_MS)
        elif "describe_again" in self.timers:
            self.timers["describe_again"] = self.attempts.soon(self._now, self._draw, WAKE_MS)

    def _look(self, *, hidden: bool | None = None, offline: bool | None = None) -> None:
        self._hidden = self._hidden if hidden is None else hidden
        self._offline = self._offline if offline is None else offline
        self.cadence.idle = self._hidden or self._offline
        self._cancel("poll")

    def _rest(self, mode: Literal["PAUSED", "DENIED", "STOPPED"], reason: str) -> None:
        if self.mode not in ("IDLE", "DENIED", "STOPPED"):
            self.mode, self.reason = mode, reason
            self._release(reason)

    def _release(self, reason: str) -> None:
        """Let go of sockets, timers and polls."""
        self.reason = reason
        self._close_sockets()
        self.timers.clear()
        self.cadence.end(asked=None)
        self._polling_on = False

    def _close_sockets(self) -> None:
        for socket in (self._socket, self._successor):
            if socket is not None:
                self._do("close", socket, NORMAL)
        self._socket = self._successor = None

    def _poll_within(self, milliseconds: int) -> None:
        if not self.cadence.in_flight:
            self.timers["poll"] = self._now + round(self._draw * milliseconds)

    def _cancel(self, *names: str) -> None:
        for name in names:
            self.timers.pop(name, None)

    def _do(self, do: Action, socket: int | None = None, code: int | None = None) -> None:
        self._commands.append(Command(do, socket, code))
