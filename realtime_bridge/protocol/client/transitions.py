"""Rules of the hybrid client's states; `machine.py` has the inputs."""

from typing import Literal

from realtime_bridge.protocol.client.commands import Mode, Terms
from realtime_bridge.protocol.client.credentials import DENIAL, failure_reason, refusal_reason
from realtime_bridge.protocol.client.reconnect_policy import PLANNED_CODES
from realtime_bridge.protocol.client.state import CONNECTED, State
from realtime_bridge.protocol.wire.close_codes import CloseCode

FINAL = (CloseCode.PROTOCOL, CloseCode.FORBIDDEN)
"""Close codes after which the server would refuse each further attempt."""

SOCKET_TIMERS = (
    *("reconnect", "slow", "open", "probe", "silence", "ping", "beat", "stale"),
    *("successor", "successor_open", "successor_probe"),
)


class Transitions(State):
    """State of one client with its transitions."""

    # Declared again: from the assignments below, type checkers infer narrower types.
    mode: Mode
    terms: Terms | None
    last_ok: int | None
    started: int

    def _on_describe(self) -> None:
        self._on_descriptor_failed(None, None, None)

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
        self._give_up("the server did not answer on the socket")

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
        self._do("close", self._successor, CloseCode.NORMAL)
        self._on_successor_lost()

    def _on_successor_probe(self) -> None:
        self._on_successor_open()

    def _on_hidden(self) -> None:
        self._rest("PAUSED", "the page is hidden")

    def _begin(self) -> None:
        """Start from rest with the descriptor at hand, if any."""
        self.started, self.reason = self.now, None
        self._hurry = self._may_return = self._token_refused = False
        self.credentials.confirm()
        if self.terms:
            self.timers["refresh"] = max(self.now, self._refresh_at)
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

    def _begin_again(self) -> None:
        """Start from rest with a fresh descriptor; the last one serves while there is none."""
        self._cached, self.terms = self.terms or self._cached, None
        self.reconnect_policy.reset()
        self._begin()

    def _describe(self, do: Literal["describe", "renew"] = "describe") -> None:
        self._cancel("describe_again", "refresh")
        self.timers["describe"] = self.now + self.timing.descriptor_timeout
        self._do(do)

    def _on_descriptor_failed(
        self, status: int | None, code: str | None, message: str | None
    ) -> None:
        """Continue without a fresh descriptor: a cached descriptor serves meanwhile.

        A renewal without a response does not count: the next denial leads to another renewal.
        """
        self._cancel("describe")
        reason = f"no descriptor: {failure_reason(message, status, code)}"
        if status in DENIAL:
            self._on_denied(reason, status, code)
            return
        self.credentials.confirm()
        if self.mode == "BOOT":
            self.reason = reason
            if self._cached:
                self.terms, self._cached = self._cached, None
                self._fall(reason)
        self._describe_later()

    def _describe_later(self) -> None:
        wait = min(self.reconnect_policy.backoff(self.draw), self.timing.descriptor_retry_max)
        self.timers["describe_again"] = self.now + wait

    def _on_denied(self, reason: str, status: int | None, code: str | None) -> None:
        self.reason = reason = refusal_reason(code, reason)
        match self.credentials.deny(self.now, status, code):
            case "renew":
                self._describe("renew")
            case "retry":
                self._describe_later()
            case _:  # "final"
                self._rest("DENIED", reason)
                self._may_return = True

    def _follow(self, terms: Terms, before: Terms | None) -> None:
        """Apply a fresh descriptor."""
        hurry, self._hurry = self._hurry, False
        newer = before is not None and terms.generation > before.generation
        if terms.mode == "polling":
            self._close_sockets()
            self._fall("the server asks for polling")
        elif self.mode == "BOOT":
            self.reconnect_policy.reset()
            # After a failed request the user has waited long enough: poll while it connects.
            self._polling_on = self.reason is not None
            self._connect_first()
            self._poll_within(0)
        elif self.mode == "FALLBACK":
            if hurry or newer or (before and before.mode == "polling"):
                self.timers["reconnect"] = self.reconnect_policy.soon(self.now, self.draw, 0)
        elif self.mode in CONNECTED:
            self.credentials.confirm()
            self._do("token", self._socket)
            if newer:
                self._open_successor()
        elif newer:
            self._close_sockets()
            self._connect("UPGRADING")

    def _connect_first(self) -> None:
        self._connect("CONNECTING")
        self.timers["slow"] = self.now + self.timing.slow_connect

    def _connect(self, mode: Literal["CONNECTING", "UPGRADING"]) -> None:
        self.mode = mode
        self._cancel(*SOCKET_TIMERS)
        self._socket = self._open()
        self.timers["open"] = self.now + self.timing.open_timeout

    def _go_live(self) -> None:
        self.mode = "LIVE"
        self.reason = self._window = None
        self._cancel(*SOCKET_TIMERS)
        self._confirmed = self._token_refused = False
        if self.credentials.renewed:
            self.credentials.confirm()
        self._live_since = self.now
        self._expect_message()
        if self._socket in self._links and self._links[self._socket].quickest is not None:
            self._expect_heartbeat()
        if self.terms and self.terms.max_age is not None:
            # 80 to 95 % of the age: sockets that opened together do not all move together.
            age = round(self.terms.max_age * (0.8 + 0.15 * self.draw))
            self.timers["successor"] = self.now + age
        if self._polling_on:
            self._poll_within(0)

    def _open_successor(self) -> None:
        """Open a socket that replaces the current one once it is ready."""
        if self._successor is not None:
            self._do("close", self._successor, CloseCode.NORMAL)
        self._cancel("successor", "successor_probe")
        self._successor = self._open()
        self.timers["successor_open"] = self.now + self.timing.open_timeout

    def _on_successor_lost(self) -> None:
        self._successor = None
        self._cancel("successor_open", "successor_probe")
        self.timers["successor"] = self.now + self.reconnect_policy.backoff(self.draw)

    def _give_up(self, reason: str) -> None:
        self._do("close", self._socket, CloseCode.NORMAL)
        self._on_socket_lost(CloseCode.ABNORMAL, reason)

    def _on_socket_lost(self, code: int, reason: str) -> None:
        """Continue without the socket: with its successor, by polling, or not at all."""
        if self.complete:
            self.last_ok = self.now
        planned = self._record_end(code)
        self._socket = None
        if code in FINAL:
            self._rest("DENIED", reason)
        elif code == CloseCode.DISABLED:
            self._rest("STOPPED", reason)
        elif self._successor is not None:
            self._promote_successor(reason)
        else:
            self._fall(reason, code, planned=planned)
            if code == CloseCode.TOKEN:
                self._renew_token()
            elif code == CloseCode.UNDELIVERED and not self.describing:
                # The server may deliver by another provider, or by another app of it.
                self._describe()

    def _record_end(self, code: int) -> bool:
        """Record the end of a socket, and return whether the server planned it."""
        is_live = self.mode in CONNECTED
        planned = is_live and (code in PLANNED_CODES or self._window is not None)
        if code == CloseCode.UNDELIVERED:
            self.reconnect_policy.pause(self.now)
        elif is_live:
            policy = self.reconnect_policy
            record = policy.record_uptime if planned else policy.record_drop
            record(self._live_since, self.now, confirmed=self._confirmed)
        return planned

    def _promote_successor(self, reason: str) -> None:
        """Continue with the successor at its current step, and poll meanwhile."""
        probing = "successor_probe" in self.timers
        deadline = self.timers["successor_probe" if probing else "successor_open"]
        self._cancel(*SOCKET_TIMERS)
        self.timers["probe" if probing else "open"] = deadline
        self.mode, self.reason = ("PROBING" if probing else "UPGRADING"), reason
        self._socket, self._successor = self._successor, None
        self._polling_on = True
        self._poll_within(self.timing.first_poll_spread)

    def _renew_token(self) -> None:
        """Get a fresh token before the next attempt: at once, and after that with back-off."""
        is_first, self._token_refused, self._hurry = not self._token_refused, True, True
        at = self.timers.pop("reconnect", None)
        if "describe" in self.timers:
            return
        if is_first:
            self.credentials.renewed = True
            self._describe("renew")
        elif at is not None:
            self.timers["describe_again"] = at

    def _fall(self, reason: str, code: int = CloseCode.ABNORMAL, *, planned: bool = False) -> None:
        # A client that polled already keeps its interval: the lost attempt delays no events.
        urgent = self.mode in CONNECTED or not self.polling
        self.mode, self.reason = "FALLBACK", reason
        self._polling_on = False
        self._cancel(*SOCKET_TIMERS)
        if urgent:
            self._poll_within(self.timing.first_poll_spread)
        if self.terms and self.terms.mode == "realtime":
            window, self._window = self._window, None
            self.timers["reconnect"] = self.reconnect_policy.next(
                self.now, self.draw, code=code, window=window, planned=planned
            )

    def _rest(self, mode: Literal["PAUSED", "DENIED", "STOPPED"], reason: str) -> None:
        """Release sockets, timers and polls."""
        self.mode, self.reason = mode, reason
        self._close_sockets()
        self._abandon_poll()
        self.timers.clear()
        self._polling_on = False

    def _wake(self) -> None:
        """Catch up: the network, the page or the clock is back."""
        if self.mode == "DENIED" and self._may_return:
            self._begin_again()
            return
        self.reconnect_policy.reset()
        if "describe" not in self.timers:
            self._token_refused = False
            self.credentials.confirm()
        if self.mode in CONNECTED:
            self._ping()
            self._polling_on = True
        if "reconnect" in self.timers:
            spread = self.timing.wake_spread
            self.timers["reconnect"] = self.reconnect_policy.soon(self.now, self.draw, spread)
        if "describe_again" in self.timers:
            self.timers["describe_again"] = self.now + round(self.draw * self.timing.wake_spread)
        self._replace_poll(0 if self.mode in CONNECTED else self.timing.first_poll_spread)

    def _reconnect_soon(self) -> None:
        """Reconnect before the back-off ends: what made the attempts fail seems to be over."""
        name = "describe_again" if self._hurry else "reconnect"
        if name in self.timers:
            self.reconnect_policy.reset()
            soon = self.reconnect_policy.soon(self.now, self.draw, self.timing.restart_spread)
            self.timers[name] = min(self.timers[name], soon)
