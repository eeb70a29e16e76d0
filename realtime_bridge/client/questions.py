"""Questions on one socket that have no answer yet, with their deadlines."""

from collections.abc import Callable

from realtime_bridge.client.transport import CallLater, Handle
from realtime_bridge.protocol.client.machine import Machine
from realtime_bridge.protocol.client.timing import Timing

PING, TOKEN = ":ping", ":token"
"""Names of the questions that are not about a channel; no channel's name has a colon."""


class Questions:
    """Questions on one socket that have no answer yet: subscriptions, a token, a ping.

    Messages of the server alone do not show that it receives ours.

    Args:
        socket: Number of the socket in the machine's inputs.
        machine: Receiver of the inputs.
        timing: Durations of the client.
        call_later: Calls a function after so many seconds.

    """

    def __init__(
        self, socket: int, machine: Machine, *, timing: Timing, call_later: CallLater
    ) -> None:
        self._socket = socket
        self._machine = machine
        self._timing = timing
        self._call_later = call_later
        self._timers: dict[str, Handle] = {}
        self._overdue: set[str] = set()

    def is_overdue(self, question: str) -> bool:
        """Return whether the answer is overdue."""
        return question in self._overdue

    def ask(self, question: str) -> None:
        """Start the deadline of a question; one that is asked again keeps its first deadline."""
        if question not in self._timers:
            self._wait(question, self._timing.late_after, self._on_overdue)

    def answered(self, question: str, *, prompt: bool = False) -> None:
        """End a question; `prompt`: an answer in time shows that the link does not lag."""
        timer = self._timers.pop(question, None)
        if timer is None:
            return
        timer.cancel()
        was_overdue = question in self._overdue
        self._overdue.discard(question)
        prompt = prompt and not was_overdue
        if (prompt or was_overdue) and not self._overdue:
            self._machine.answered(self._socket, prompt=prompt)

    def release(self) -> None:
        """End all questions: the socket is closed."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._overdue.clear()

    def _on_overdue(self, question: str) -> None:
        self._overdue.add(question)
        self._machine.answer_overdue(self._socket)
        wait = self._timing.answer_timeout - self._timing.late_after
        self._wait(question, wait, self._on_missing)

    def _on_missing(self, question: str) -> None:
        # Again later, where the machine keeps a socket that lags.
        self._wait(question, self._timing.answer_timeout, self._on_missing)
        self._machine.answer_missing(self._socket)

    def _wait(self, question: str, milliseconds: int, on_late: Callable[[str], None]) -> None:
        self._timers[question] = self._call_later(milliseconds / 1_000, lambda: on_late(question))
