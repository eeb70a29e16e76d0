"""State machine of the hybrid client: takes inputs with their time, and returns commands.

The twin is `clients/js/src/machine/machine.ts`; both replay `tests/vectors/machine.json`.
"""

from realtime_bridge.protocol.client.commands import Mode, Options, Terms
from realtime_bridge.protocol.client.credentials import DENIAL, failure_reason, refusal_reason
from realtime_bridge.protocol.client.link_inputs import LinkInputs
from realtime_bridge.protocol.client.poll_schedule import SPREAD
from realtime_bridge.protocol.client.state import CONNECTED, RESTING
from realtime_bridge.protocol.client.timing import Timing
from realtime_bridge.protocol.wire.close_codes import CloseCode


class Machine(LinkInputs):
    """State machine of one client.

    Before inputs, the client runner sets `now` and `draw`. After them, `take_commands` returns the
    commands of all of them. The runner sets one timer to `wake_at`, and calls `tick` then.

    Args:
        options: Choices of the application.
        timing: Durations of the client.

    """

    # Declared again: from the assignments below, type checkers infer narrower types.
    mode: Mode
    reason: str | None
    last_ok: int | None
    started: int

    def __init__(self, options: Options | None = None, timing: Timing | None = None) -> None:
        super().__init__(options or Options(), timing or Timing())

    def start(self, cached: Terms | None = None) -> None:
        """Start; `cached` is a stored descriptor for the case that the server gives none."""
        if self.mode in ("IDLE", "STOPPED"):
            self._cached, self.terms = cached, None
            self._begin()

    def retry(self) -> None:
        """Connect again at a user's request, whatever was decided before.

        A live socket stays open, and the last descriptor serves while the server gives no fresh
        one.
        """
        if self.mode in CONNECTED:
            self._wake()
            return
        self._rest("STOPPED", "retry requested")
        self._begin_again()

    def refresh(self) -> None:
        """Poll and check the socket at a user's request."""
        self._wake()

    def stop(self) -> None:
        """Stop."""
        self._rest("STOPPED", "stopped")

    def descriptor_received(self, terms: Terms) -> None:
        """Apply a fresh descriptor; at rest, store it only."""
        before, self.terms = self.terms, terms
        if before and terms.generation > before.generation:
            self.reconnect_policy.end_pause()
        # At 80 % of the lifetime, so that a failed request leaves time for another.
        lifetime = max(self.timing.descriptor_refresh_min, terms.expires * 4 // 5)
        self._refresh_at = self.now + lifetime
        if self.mode in RESTING:
            return
        self._cancel("describe", "describe_again")
        if self.credentials.renewed:
            self._replace_poll(0)
        if self._options.push:
            self.timers["refresh"] = self._refresh_at
            self._follow(terms, before)

    def descriptor_failed(
        self,
        status: int | None = None,
        code: str | None = None,
        retry_after: int | None = None,
        message: str | None = None,
    ) -> None:
        """Handle a failed request for a descriptor.

        Args:
            status: HTTP status; None where no response arrived.
            code: Code of the bridge's refusal.
            retry_after: Wait that the server asked for, in milliseconds.
            message: Cause in words.

        """
        if "describe" in self.timers:
            self._on_descriptor_failed(status, code, message)
            if retry_after is not None and "describe_again" in self.timers:
                wait = min(self.timing.requested_interval_max, retry_after)
                earliest = self.now + round(wait * (1 + SPREAD * self.draw))
                self.timers["describe_again"] = max(self.timers["describe_again"], earliest)

    def opened(self, socket: int) -> None:
        """Handle an open socket: send `connect` and wait for `welcome`."""
        if socket == self._successor and "successor_open" in self.timers:
            self._cancel("successor_open")
            self.timers["successor_probe"] = self.now + self.timing.probe_timeout
            self._do("probe", socket)
        elif socket == self._socket and self.mode in ("CONNECTING", "UPGRADING"):
            self._polling_on |= self.mode == "UPGRADING"
            self.mode = "PROBING"
            self._cancel("slow", "open")
            self.timers["probe"] = self.now + self.timing.probe_timeout
            self._do("probe", socket)

    def ready(self, socket: int) -> None:
        """Handle a ready socket: `welcome` has our nonce, and each subscription was answered."""
        if socket == self._successor and "successor_probe" in self.timers:
            self.reconnect_policy.record_uptime(
                self._live_since, self.now, confirmed=self._confirmed
            )
            self._do("close", self._socket, CloseCode.NORMAL)
            self._socket, self._successor = socket, None
            self._go_live()
        elif socket == self._socket and self.mode == "PROBING":
            self._go_live()

    def message_received(self, socket: int) -> None:
        """Record the arrival of a message on a socket that is ready."""
        if socket == self._socket and self.mode in CONNECTED:
            self.mode = "LIVE"
            self._confirmed = True
            self._cancel("ping")
            self._expect_message()

    def closed(
        self,
        socket: int,
        code: int = CloseCode.ABNORMAL,
        reason: str | None = None,
        message: str | None = None,
    ) -> None:
        """Handle a socket that failed, or that was closed by the server.

        A session closes the socket after an invalid message, and reports that here too.

        Args:
            socket: Number of the socket.
            code: Close code.
            reason: Code of the refusal in the server's last `error`.
            message: Cause in words.

        """
        if socket == self._successor:
            self._on_successor_lost()
            if code == CloseCode.TOKEN:
                self._renew_token()
        elif socket == self._socket:
            words = "" if message is None else f": {message}"
            cause = refusal_reason(reason, f"the socket closed with {code}{words}")
            self._on_socket_lost(code, cause)

    def drain(self, socket: int, after: int, window: int) -> None:
        """Handle the server's notice that it will close: move to a successor at a random time."""
        if socket == self._socket and self.mode in CONNECTED:
            self._window = window
            self.timers["successor"] = self.now + after + round(self.draw * window)

    def generation(self, generation: int) -> None:
        """Compare the generation of a heartbeat or poll: a newer one needs a fresh descriptor."""
        newer = self.terms is not None and generation > self.terms.generation
        if newer and not self.describing and self.mode not in RESTING:
            self._describe()

    def poll_succeeded(
        self,
        *,
        moved: bool = False,
        more: bool = False,
        next_ms: int | None = None,
        ok: bool = True,
    ) -> None:
        """Handle a successful poll.

        The first one that ends while LIVE closes the overlap of polling and push. Like `ready`, it
        confirms the credentials, unless a renewal is under way.

        Args:
            moved: Whether the poll brought events or a reset.
            more: Whether the log has more events.
            next_ms: Wait that the server asked for, in milliseconds.
            ok: Whether the log and backend of the server that answered work. After a fault, this
                shows that another attempt may succeed; it does not concern the socket.

        """
        if not self.poll_schedule.in_flight:
            return
        self.timers.pop("poll_limit", None)
        if ok and (self._poll_trouble or self.poll_schedule.failing):
            self._reconnect_soon()
        self._poll_trouble = not ok
        self.poll_schedule.answered(next_ms)
        self.last_ok = self.now
        if self.credentials.renewed and not self.describing:
            self.credentials.confirm()
        if moved:
            self.poll_schedule.event_received(self.now)
        if not self._options.push:
            self.reason = None
        if self.mode == "LIVE":
            self._polling_on &= more
        if more:
            self.timers["poll"] = self.now + self.timing.next_page_delay

    def poll_failed(
        self,
        status: int | None = None,
        retry_after: int | None = None,
        code: str | None = None,
        message: str | None = None,
    ) -> None:
        """Handle a failed poll. A denial changes nothing for a live socket, or during a renewal.

        Args:
            status: HTTP status; None where no response arrived.
            retry_after: Wait that the server asked for, in milliseconds.
            code: Code of the bridge's refusal.
            message: Cause in words.

        """
        if not self.poll_schedule.in_flight:
            return
        self.timers.pop("poll_limit", None)
        self.poll_schedule.failed(self.now, self.draw, status=status, retry_after=retry_after)
        if status in DENIAL:
            if self.mode in CONNECTED:
                self._polling_on = False
            elif "describe_again" in self.timers:
                latest = self.now + self.timing.descriptor_retry_max
                self.timers["describe_again"] = min(self.timers["describe_again"], latest)
            elif "describe" not in self.timers:
                cause = failure_reason(message, status, code)
                self._on_denied(f"no poll: {cause}", status, code)

    def event_received(self) -> None:
        """Record a pushed event: polls that become necessary follow soon."""
        self.poll_schedule.event_received(self.now)

    def offline(self) -> None:
        """Handle the browser's report that there is no network; it may be wrong, so ping."""
        self._set_reach(hidden=self.poll_schedule.hidden, offline=True)
        if self.mode == "LIVE":
            self._ping()

    def online(self) -> None:
        """Handle the browser's report that the network is back."""
        self._set_reach(hidden=self.poll_schedule.hidden, offline=False)
        self._wake()

    def hidden(self, *, keep: bool = False) -> None:
        """Handle a page that became hidden; `keep`: a channel stays connected in the background."""
        self._set_reach(hidden=True, offline=self.poll_schedule.offline)
        self._pausing = not keep
        self._pause_later()

    def visible(self) -> None:
        """Handle a page that became visible."""
        self._set_reach(hidden=False, offline=self.poll_schedule.offline)
        self._pausing = False
        self._cancel("hidden")
        if self.mode == "PAUSED":
            self._begin()
        else:
            self._wake()

    def focused(self) -> None:
        """Handle a window that got the focus: the user may have signed in elsewhere."""
        if self.mode == "DENIED":
            self._wake()

    def resumed(self) -> None:
        """Handle a computer's sleep, or a page that returned from the browser's cache."""
        self.started = self.now
        self._wake()

    def _set_reach(self, *, hidden: bool, offline: bool) -> None:
        if (hidden, offline) != (self.poll_schedule.hidden, self.poll_schedule.offline):
            self.poll_schedule.set_reach(hidden=hidden, offline=offline)
            self._cancel("poll")
