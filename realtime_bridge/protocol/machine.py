"""The hybrid client's state machine: what happened and when goes in, what to do comes out.

The twin is `clients/js/src/machine.ts`, and both replay `tests/vectors/machine.json`.
"""

from collections.abc import Callable
from functools import update_wrapper
from typing import Concatenate, ParamSpec

from realtime_bridge.protocol.commands import Command, Terms
from realtime_bridge.protocol.transitions import (
    HIDDEN_MS,
    NORMAL,
    PROBE_MS,
    RESTING,
    Transitions,
)

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

    Before each input, `at` sets the time in milliseconds, and a random number in [0, 1). The shell
    sets one timer to `wake_at`, and calls `tick` then.
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
        self.started = self._now
        self._cached = cached
        if self._options.push:
            self._boot()
        else:
            self.mode = "FALLBACK"
            self._poll_within(0)

    @_input
    def retry(self) -> None:
        """Try again, whatever was decided before: a person asked for it."""
        self._release("asked to try again")
        self.attempts.forget()
        self._renewed = False
        self._boot()

    @_input
    def stop(self) -> None:
        """End."""
        self._rest("STOPPED", "stopped")

    @_input
    def described(self, terms: Terms) -> None:
        """Take a fresh descriptor."""
        before, self.terms = self.terms, terms
        self._cancel("describe", "describe_again")
        if self.mode in RESTING:
            return
        self.timers["refresh"] = self._now + terms.expires * 4 // 5
        was_polling_only = before is not None and before.mode == "polling"
        hurry, self._hurry = self._hurry, False
        if terms.mode == "polling":
            self._poll_only()
        elif self.mode == "BOOT":
            self._connect_first()
        elif self.mode == "FALLBACK" and (hurry or was_polling_only):
            self._connect("UPGRADING")
        elif self._good and before and terms.generation > before.generation:
            self._open_successor()

    @_input
    def not_described(self, status: int | None = None) -> None:
        """Take the failure of a descriptor: an HTTP status, or no answer at all."""
        self._undescribed(status)

    @_input
    def opened(self, socket: int) -> None:
        """Note that a socket is open: say who we are, and see who answers."""
        if socket == self._successor:
            self.timers["successor_limit"] = self._now + PROBE_MS
            self._do("probe", socket)
        elif socket == self._socket and self.mode in ("CONNECTING", "UPGRADING"):
            self._polling_on |= self.mode == "UPGRADING"
            self._probe()

    @_input
    def ready(self, socket: int) -> None:
        """Note that `welcome` came with our nonce, and every subscription was answered."""
        if socket == self._successor:
            self._do("close", self._socket, NORMAL)
            self._socket, self._successor = socket, None
            self._go_live()
        elif socket == self._socket and self.mode == "PROBING":
            self._go_live()
            if self._polling_on:
                self._poll_within(0)

    @_input
    def frame(self, socket: int) -> None:
        """Note that anything at all came on a socket."""
        if socket == self._socket and self._good:
            self.mode = "LIVE"
            self._heard = True
            self._cancel("ping")
            self._listen()

    @_input
    def closed(self, socket: int, code: int = 1006, window: int | None = None) -> None:
        """Note that a socket failed or was closed; `window` is what a drain had announced."""
        if socket == self._successor:
            self._lose_successor()
        elif socket == self._socket:
            self._lost(code, f"the socket closed with {code}", window)

    @_input
    def drain(self, socket: int, after: int, window: int) -> None:
        """Take the server's word that it will close: move over at a moment of our own."""
        if socket == self._socket and self._good:
            self.timers["successor"] = self._now + after + round(self._draw * window)

    @_input
    def status(self, *, ok: bool) -> None:
        """Take the server's word on whether its log and backend work."""
        self._degraded = not ok
        if not ok and self.polling:
            self._poll_within(0)

    @_input
    def generation(self, generation: int) -> None:
        """Take the generation that a heartbeat or a poll named."""
        known = self.terms is None or generation <= self.terms.generation
        if not known and "describe" not in self.timers:
            self._describe()

    @_input
    def polled(self, *, moved: bool = False, next_ms: int | None = None) -> None:
        """Take a poll that was answered; `moved` if it brought anything."""
        self._cancel("poll_limit")
        self.cadence.end(asked=next_ms)
        self.last_ok = self._now
        self._renewed = False
        if moved:
            self.cadence.happened(self._now)
        if self.mode == "LIVE":
            self._polling_on = False

    @_input
    def not_polled(self, status: int | None = None, retry_after: int | None = None) -> None:
        """Take a poll that failed; `retry_after` is in milliseconds."""
        self._cancel("poll_limit")
        self.cadence.end(asked=retry_after)
        if status in (401, 403):
            self._unauthorised(f"a poll was answered {status}")

    @_input
    def happened(self) -> None:
        """Note that an event was pushed: should polls be needed, they come soon."""
        self.cadence.happened(self._now)

    @_input
    def offline(self) -> None:
        """Take the browser's word that there is no network: it may be wrong."""
        self._look(offline=True)
        if self.mode == "LIVE":
            self._ping()

    @_input
    def online(self) -> None:
        """Take the browser's word that there is a network again."""
        self._look(offline=False)
        self._wake()

    @_input
    def hidden(self, *, keep: bool = False) -> None:
        """Note that nobody sees the page; `keep` if a channel is wanted even so."""
        self._look(hidden=True)
        if not keep:
            self.timers["hidden"] = self._now + HIDDEN_MS

    @_input
    def visible(self) -> None:
        """Note that somebody sees the page again."""
        self._look(hidden=False)
        self._cancel("hidden")
        if self.mode == "PAUSED":
            self._polling_on = True
            self._connect_first()
            self._poll_within(0)
        else:
            self._wake()

    @_input
    def resumed(self) -> None:
        """Note that the clock jumped by over 15 s, or the page came back from a cache."""
        self._wake()

    @_input
    def tick(self) -> None:
        """Do what is due, the earliest first."""
        while self.timers:
            name = min(self.timers, key=self.timers.__getitem__)
            if self.timers[name] > self._now:
                return
            del self.timers[name]
            getattr(self, f"_on_{name}")()

    def _settle(self) -> list[Command]:
        """Bring the poll timer in line with the mode, and hand out the commands."""
        if not self.polling:
            self._cancel("poll")
        elif not self.cadence.in_flight and "poll" not in self.timers:
            self.timers["poll"] = self.cadence.next(self._now, self._draw)
        if self.mode == "LIVE":
            self.last_ok = self._now
        commands, self._commands = self._commands, []
        return commands
