"""Inputs about the health of sockets; `machine.py` and `state.py` have the others."""

from realtime_bridge.protocol.client.commands import Mode
from realtime_bridge.protocol.client.state import CONNECTED
from realtime_bridge.protocol.client.transitions import Transitions


class LinkInputs(Transitions):
    """State machine with the inputs that decide whether a socket is in trouble."""

    # Declared again: from the assignments elsewhere, type checkers infer narrower types.
    mode: Mode

    def health(self, socket: int, *, ok: bool, sent: int | None = None) -> None:
        """Handle the report of a socket's server; polls and other sockets change nothing here.

        Args:
            socket: Number of the socket.
            ok: Whether the log and backend of that server work.
            sent: Time of a heartbeat or `welcome` by the server's clock.

        """
        link, before = self._links.get(socket), self.trouble
        if link is None:
            return
        link.is_down = not ok
        if sent is not None:
            link.measure(self.now, sent, limit=self.timing.late_after)
            if socket == self._socket and self.mode in CONNECTED:
                self._expect_heartbeat()
                if link.is_lagging:
                    self._do("ping", socket)
        self._on_trouble_changed(before)

    def clock_changed(self, socket: int) -> None:
        """Handle a socket that continues at another server, whose clock differs."""
        if socket in self._links:
            self._links[socket].restart_clock()

    def answer_overdue(self, socket: int) -> None:
        """Handle a question that is not answered in time: poll meanwhile."""
        before = self.trouble
        if socket in self._links:
            self._links[socket].is_overdue = True
        self._on_trouble_changed(before)

    def answered(self, socket: int, *, prompt: bool) -> None:
        """Handle an answer after which none is overdue; `prompt`: a ping was answered in time."""
        link, before = self._links.get(socket), self.trouble
        if link:
            link.is_overdue = False
            if prompt:
                link.restart_clock()
        self._on_trouble_changed(before)

    def answer_missing(self, socket: int) -> None:
        """Handle a question without an answer: give the socket up, unless it lags.

        Messages still arrive on a link that lags, and another socket would lag as well.
        """
        link = self._links.get(socket)
        if link is None or link.is_lagging:
            return
        if socket == self._successor:
            self._on_successor_open()
        elif socket == self._socket:
            self._give_up("the server does not answer on the socket")

    def _on_beat(self) -> None:
        assert self._socket is not None  # without a socket, the timer is cancelled
        before = self.trouble
        self._links[self._socket].is_lagging = True
        self._do("ping", self._socket)
        self._on_trouble_changed(before)

    def _on_stale(self) -> None:
        self._polling_on = True
        self._poll_within(0)
