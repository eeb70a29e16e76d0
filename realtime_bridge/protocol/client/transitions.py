"""What each state of the hybrid client leads to: the rules, without the door they come in by."""

from typing import Literal

from realtime_bridge.protocol.client.commands import Terms
from realtime_bridge.protocol.client.state import NORMAL, State
from realtime_bridge.protocol.wire.close_codes import CloseCode

BOOT_MS, SLOW_MS, OPEN_MS, PROBE_MS = 8_000, 2_500, 10_000, 5_000
"""How long a descriptor may take; a first socket before polls begin; any socket; its `welcome`."""

AGAIN_MS = 10_000
"""The longest wait for another try at a descriptor: with a try that hangs, it is what I5 allows."""

FIRST_POLL_MS = 1_000
"""After a loss, clients begin to poll within so long, at random."""

WAKE_MS = 500
"""When the network is back, clients reconnect within so long, at random."""

HIDDEN_MS = 300_000
"""A page that nobody saw for so long pauses."""

FINAL = (CloseCode.BAD_MESSAGE, CloseCode.FORBIDDEN)
REFUSED = (401, 403)
RESTING = ("IDLE", "PAUSED", "DENIED", "STOPPED")
SOCKET_TIMERS = (
    *("reconnect", "slow", "open", "probe", "silence", "ping"),
    *("successor", "successor_open", "successor_probe"),
)


class Transitions(State):
    """One client's state, and what becomes of it."""

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
        if self._successor is None:
            self._open_successor()

    def _on_successor_open(self) -> None:
        self._do("close", self._successor, NORMAL)
        self._lose_successor()

    def _on_successor_probe(self) -> None:
        self._on_successor_open()

    def _on_hidden(self) -> None:
        self._rest("PAUSED", "nobody is looking")

    def _begin(self) -> None:
        """Do the first thing, given what is known; red comes 30 s from now at the earliest."""
        self.started, self.reason = self._now, None
        self._renewed = self._hurry = False
        if self.terms:
            self.timers["refresh"] = max(self._now, self._refresh_at)
        if not self._options.push or (self.terms and self.terms.mode == "polling"):
            self.mode = "FALLBACK"
        elif self.terms:
            self._polling_on = True
            self._connect_first()
        else:
            self.mode = "BOOT"
            self._describe()
        self._poll_within(0)
        self._pause_later()

    def _describe(self, do: Literal["describe", "renew"] = "describe") -> None:
        self._cancel("describe_again", "refresh")
        self.timers["describe"] = self._now + BOOT_MS
        self._do(do)

    def _undescribed(self, status: int | None) -> None:
        """Go on without: a cached descriptor serves, and nothing else keeps a client informed.

        A renewal that got no answer was none: the next refusal is renewed again.
        """
        self._cancel("describe")
        reason = f"no descriptor: {status or 'no answer'}"
        if status in REFUSED:
            self._unauthorised(reason)
            return
        self._renewed = False
        if self.mode == "BOOT":
            self.reason = reason
            if self._cached:
                self.terms, self._cached = self._cached, None
                self._fall(reason)
        wait = min(self.reconnect_policy.backoff(self._draw), AGAIN_MS)
        self.timers["describe_again"] = self._now + wait

    def _unauthorised(self, reason: str) -> None:
        """Renew the credentials once, then take no for an answer."""
        if self._renewed:
            self._rest("DENIED", reason)
            return
        self.reason = reason
        self._renewed = True
        self._describe("renew")

    def _follow(self, terms: Terms, before: Terms | None) -> None:
        """Do what a fresh descriptor says; who had to wait for it polls from the first."""
        hurry, self._hurry = self._hurry, False
        newer = before is not None and terms.generation > before.generation
        if terms.mode == "polling":
            self._close_sockets()
            self._fall("the server asks for polling")
        elif self.mode == "BOOT":
            self.reconnect_policy.reset()
            self._polling_on = self.reason is not None
            self._connect_first()
            self._poll_within(0)
        elif self.mode == "FALLBACK":
            if hurry or newer or (before and before.mode == "polling"):
                self.timers["reconnect"] = self.reconnect_policy.soon(self._now, self._draw, 0)
        elif self._good:
            self._renewed = False
            self._do("token", self._socket)
            if newer:
                self._open_successor()
        elif newer:
            self._close_sockets()
            self._connect("UPGRADING")

    def _connect_first(self) -> None:
        self._connect("CONNECTING")
        self.timers["slow"] = self._now + SLOW_MS

    def _connect(self, mode: Literal["CONNECTING", "UPGRADING"]) -> None:
        self.mode = mode
        self._cancel(*SOCKET_TIMERS)
        self._socket = self._open()
        self.timers["open"] = self._now + OPEN_MS

    def _go_live(self) -> None:
        self.mode = "LIVE"
        self.reason = self._window = None
        self._cancel(*SOCKET_TIMERS)
        self._renewed = self._heard = False
        self._live_since = self._now
        self._listen()
        if self.terms and self.terms.max_age is not None:
            age = round(self.terms.max_age * (0.8 + 0.15 * self._draw))
            self.timers["successor"] = self._now + age
        if self._polling_on:
            self._poll_within(0)

    def _open_successor(self) -> None:
        """Open the socket to move over to, in place of one that is on its way."""
        if self._successor is not None:
            self._do("close", self._successor, NORMAL)
        self._cancel("successor", "successor_probe")
        self._successor = self._open()
        self.timers["successor_open"] = self._now + OPEN_MS

    def _lose_successor(self) -> None:
        self._successor = None
        self._cancel("successor_open", "successor_probe")
        self.timers["successor"] = self._now + self.reconnect_policy.backoff(self._draw)

    def _give_up(self, reason: str) -> None:
        self._do("close", self._socket, NORMAL)
        self._lost(1006, reason)

    def _lost(self, code: int, reason: str) -> None:
        """Go on without the socket: to its successor, to polling, or nowhere."""
        if self.pushed:
            self.last_ok = self._now
        if self._good:
            self.reconnect_policy.record_drop(self._live_since, self._now, heard=self._heard)
        self._socket = None
        if code in FINAL:
            self._rest("DENIED", reason)
        elif code == CloseCode.DISABLED:
            self._rest("STOPPED", reason)
        elif self._successor is not None:
            self._promote_successor(reason)
        else:
            self._fall(reason, code)
            self._renew_token(code)

    def _promote_successor(self, reason: str) -> None:
        """Go on with the successor from wherever it has got to, and poll meanwhile."""
        probing = "successor_probe" in self.timers
        deadline = self.timers["successor_probe" if probing else "successor_open"]
        self._cancel(*SOCKET_TIMERS)
        self.timers["probe" if probing else "open"] = deadline
        self.mode, self.reason = ("PROBING" if probing else "UPGRADING"), reason
        self._socket, self._successor = self._successor, None
        self._polling_on = True
        self._poll_within(FIRST_POLL_MS)

    def _renew_token(self, code: int) -> None:
        """Renew once before the next attempt, which then comes at once."""
        if code == CloseCode.BAD_TOKEN and not self._renewed:
            self._renewed = self._hurry = True
            self._cancel("reconnect")
            self._describe("renew")

    def _fall(self, reason: str, code: int = 1006) -> None:
        urgent = self._good or not self.polling
        self.mode, self.reason = "FALLBACK", reason
        self._polling_on = False
        self._cancel(*SOCKET_TIMERS)
        if urgent:
            self._poll_within(FIRST_POLL_MS)
        if self.terms and self.terms.mode == "realtime":
            window, self._window = self._window, None
            again = self.reconnect_policy.next(self._now, self._draw, code=code, window=window)
            self.timers["reconnect"] = again

    def _rest(self, mode: Literal["PAUSED", "DENIED", "STOPPED"], reason: str) -> None:
        """Let go of sockets, timers and polls."""
        self.mode, self.reason = mode, reason
        self._close_sockets()
        self._abandon_poll()
        self.timers.clear()
        self._polling_on = self.degraded = False

    def _wake(self) -> None:
        """Make up for lost time: the network, the page or the clock is back."""
        self.reconnect_policy.reset()
        self._renewed &= "describe" in self.timers
        if self._good:
            self._ping()
            self._polling_on = True
        if "reconnect" in self.timers:
            self.timers["reconnect"] = self.reconnect_policy.soon(self._now, self._draw, WAKE_MS)
        if "describe_again" in self.timers:
            self.timers["describe_again"] = self._now + round(self._draw * WAKE_MS)
        self._poll_anew(0 if self._good else FIRST_POLL_MS)

    def _pause_later(self) -> None:
        if not self._pausing:
            self._cancel("hidden")
        elif self.mode not in RESTING:
            self.timers.setdefault("hidden", self._now + HIDDEN_MS)
