"""The hybrid client's state machine: what happened and when goes in, what to do comes out.

The twin is `clients/js/src/machine.ts`, and both replay `tests/vectors/machine.json`.
"""

from collections.abc import Callable
from functools import update_wrapper
from typing import Concatenate, ParamSpec

from realtime_bridge.protocol.client.commands import Command, Terms
from realtime_bridge.protocol.client.state import NORMAL
from realtime_bridge.protocol.client.transitions import (
    FIRST_POLL_MS,
    PROBE_MS,
    REFUSED,
    RESTING,
    Transitions,
)

NEXT_PAGE_MS = 250
"""Between the pages of one long answer, so that no answer makes a client spin."""

REFRESH_MS = 1_000
"""The soonest that a descriptor is refreshed, however short-lived it says it is."""

P = ParamSpec("P")


def _input(
    method: Callable[Concatenate["Machine", P], None],
) -> Callable[Concatenate["Machine", P], list[Command]]:
    """Let an input return the commands that it gave."""

    def take(machine: "Machine", /, *args: P.args, **kwargs: P.kwargs) -> list[Command]:
        method(machine, *args, **kwargs)
        return machine._settle()

    update_wrapper(take, method)
    return take


class Machine(Transitions):
    """One client: it is told what happens, and tells what to do.

    Before each input, `at` sets the time of a clock that never goes back, in milliseconds, and a
    random number in [0, 1). The shell sets one timer to `wake_at`, and calls `tick` then.
    """

    @property
    def wake_at(self) -> int | None:
        """When `tick` has something to do."""
        return min(self.timers.values(), default=None)

    def at(self, now: int, draw: float) -> "Machine":
        """Set the time, and the chance, of the next input."""
        self._now, self._draw = now, draw
        return self

    @_input
    def start(self, cached: Terms | None = None) -> None:
        """Begin; `cached` is a descriptor of less than an hour ago."""
        if self.mode in ("IDLE", "STOPPED"):
            self._cached, self.terms = cached, None
            self._begin()

    @_input
    def retry(self) -> None:
        """Try again, whatever was decided before: a person asked for it.

        A socket that is good is not thrown away for it, and what was known of the server serves
        while it gives no fresh descriptor.
        """
        if self._good:
            self._wake()
            return
        self._rest("STOPPED", "asked to try again")
        self._cached, self.terms = self.terms or self._cached, None
        self.reconnect_policy.reset()
        self._begin()

    @_input
    def refresh(self) -> None:
        """Poll now, and make sure that the socket lives: a person asked for it."""
        self._wake()

    @_input
    def stop(self) -> None:
        """End."""
        self._rest("STOPPED", "stopped")

    @_input
    def descriptor_received(self, terms: Terms) -> None:
        """Take a fresh descriptor: at rest it is remembered, and nothing more."""
        before, self.terms = self.terms, terms
        self._refresh_at = self._now + max(REFRESH_MS, terms.expires * 4 // 5)
        if self.mode in RESTING:
            return
        self._cancel("describe", "describe_again")
        if self._renewed:
            self._poll_anew(0)
        if self._options.push:
            self.timers["refresh"] = self._refresh_at
            self._follow(terms, before)

    @_input
    def descriptor_failed(self, status: int | None = None) -> None:
        """Take the failure of a descriptor: an HTTP status, or no answer at all."""
        if "describe" in self.timers:
            self._undescribed(status)

    @_input
    def opened(self, socket: int) -> None:
        """Note that a socket is open: say who we are, and see who answers."""
        if socket == self._successor and "successor_open" in self.timers:
            self._cancel("successor_open")
            self.timers["successor_probe"] = self._now + PROBE_MS
            self._do("probe", socket)
        elif socket == self._socket and self.mode in ("CONNECTING", "UPGRADING"):
            self._polling_on |= self.mode == "UPGRADING"
            self.mode = "PROBING"
            self._cancel("slow", "open")
            self.timers["probe"] = self._now + PROBE_MS
            self._do("probe", socket)

    @_input
    def ready(self, socket: int) -> None:
        """Note that `welcome` came with our nonce, and every subscription was answered."""
        if socket == self._successor and "successor_probe" in self.timers:
            self.reconnect_policy.record_uptime(self._live_since, self._now, heard=self._heard)
            self._do("close", self._socket, NORMAL)
            self._socket, self._successor = socket, None
            self._go_live()
        elif socket == self._socket and self.mode == "PROBING":
            self._go_live()

    @_input
    def frame(self, socket: int) -> None:
        """Note that anything at all came on a socket."""
        if socket == self._socket and self._good:
            self.mode = "LIVE"
            self._heard = True
            self._cancel("ping")
            self._listen()

    @_input
    def closed(self, socket: int, code: int = 1006) -> None:
        """Note that a socket failed or was closed, by anybody but the machine.

        A shell that hears nonsense closes the socket, and says so here.
        """
        if socket == self._successor:
            self._lose_successor()
        elif socket == self._socket:
            self._lost(code, f"the socket closed with {code}")

    @_input
    def drain(self, socket: int, after: int, window: int) -> None:
        """Take the server's word that it will close: move over at a moment of our own."""
        if socket == self._socket and self._good:
            self._window = window
            self.timers["successor"] = self._now + after + round(self._draw * window)

    @_input
    def status(self, *, ok: bool) -> None:
        """Take the server's word, in a frame or a poll, on whether its log and backend work."""
        down = not ok
        if down != self.degraded and self.mode not in RESTING:
            self.degraded = down
            self._poll_within(FIRST_POLL_MS)

    @_input
    def sync_changed(self, *, ok: bool) -> None:
        """Note whether every channel has all its events; this is for people to see."""
        if ok:
            self.behind = None
        elif self.behind is None:
            self.behind = self._now

    @_input
    def generation(self, generation: int) -> None:
        """Take the generation that a heartbeat or a poll named."""
        newer = self.terms is not None and generation > self.terms.generation
        asking = "describe" in self.timers or "describe_again" in self.timers
        if newer and not asking and self.mode not in RESTING:
            self._describe()

    @_input
    def poll_succeeded(
        self, *, moved: bool = False, more: bool = False, next_ms: int | None = None
    ) -> None:
        """Take a poll that was answered: `moved` if it brought anything, `more` if there is more.

        The first one that ends while LIVE is the overlap; it shows, like `ready`, that the
        credentials are good, unless they are just being renewed.
        """
        if not self.poll_schedule.in_flight:
            return
        self._cancel("poll_limit")
        self.poll_schedule.answered(next_ms)
        self.last_ok = self._now
        self._renewed &= "describe" in self.timers
        if moved:
            self.poll_schedule.event_received(self._now)
        if self.mode == "LIVE":
            self._polling_on &= more
        if more:
            self.timers["poll"] = self._now + NEXT_PAGE_MS

    @_input
    def poll_failed(self, status: int | None = None, retry_after: int | None = None) -> None:
        """Take a poll that failed; `retry_after` is in milliseconds.

        A refusal is nothing to a socket that is good, and nothing while credentials are renewed.
        """
        if not self.poll_schedule.in_flight:
            return
        self._cancel("poll_limit")
        self.poll_schedule.failed(self._now, self._draw, status=status, retry_after=retry_after)
        if status in REFUSED:
            if self._good:
                self._polling_on = False
            elif "describe" not in self.timers:
                self._unauthorised(f"a poll was answered {status}")

    @_input
    def event_received(self) -> None:
        """Note that an event was pushed: should polls be needed, they come soon."""
        self.poll_schedule.event_received(self._now)

    @_input
    def offline(self) -> None:
        """Take the browser's word that there is no network: it may be wrong."""
        self._look(hidden=self.poll_schedule.hidden, offline=True)
        if self.mode == "LIVE":
            self._ping()

    @_input
    def online(self) -> None:
        """Take the browser's word that there is a network again."""
        self._look(hidden=self.poll_schedule.hidden, offline=False)
        self._wake()

    @_input
    def hidden(self, *, keep: bool = False) -> None:
        """Note that nobody sees the page; `keep` if a channel is wanted even so."""
        self._look(hidden=True, offline=self.poll_schedule.offline)
        self._pausing = not keep
        self._pause_later()

    @_input
    def visible(self) -> None:
        """Note that somebody sees the page again."""
        self._look(hidden=False, offline=self.poll_schedule.offline)
        self._pausing = False
        self._cancel("hidden")
        if self.mode == "PAUSED":
            self._begin()
        else:
            self._wake()

    @_input
    def resumed(self) -> None:
        """Note that the clock jumped by over 15 s, or the page came back from a cache."""
        self.started = self._now
        self._wake()

    @_input
    def tick(self) -> None:
        """Do what is due, the earliest first, and what is due together in alphabetical order."""
        while self.timers:
            due, name = min((due, name) for name, due in self.timers.items())
            if due > self._now:
                return
            del self.timers[name]
            getattr(self, f"_on_{name}")()

    def _look(self, *, hidden: bool, offline: bool) -> None:
        if (hidden, offline) != (self.poll_schedule.hidden, self.poll_schedule.offline):
            self.poll_schedule.hidden, self.poll_schedule.offline = hidden, offline
            self._cancel("poll")
