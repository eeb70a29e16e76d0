"""Channel from the forked processes of a worker to their parent, for unpublished ends."""

import logging
import socket
from collections.abc import Iterator

MESSAGE_BYTES = 256 * 1024
"""Room of the socket; a message of a job has at most 64 KiB."""

_logger = logging.getLogger("realtime_bridge.integrations")


class Handover:
    """Pair of sockets, made before the fork: children send, the parent receives.

    Datagrams: those of several children do not mix.
    """

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MESSAGE_BYTES)
        # A child that ends must not wait for its parent.
        self._sender.setblocking(False)

    def send(self, body: bytes) -> None:
        """Send a message from a child."""
        try:
            self._sender.send(body)
        except OSError as error:
            _logger.warning("job update lost bytes=%d error=%r", len(body), str(error))

    def receive(self) -> bytes:
        """Wait for a message, in the parent."""
        return self._receiver.recv(MESSAGE_BYTES)

    def received(self) -> Iterator[bytes]:
        """Yield the messages that are there, in the parent."""
        self._receiver.setblocking(False)
        while True:
            try:
                yield self._receiver.recv(MESSAGE_BYTES)
            except BlockingIOError:
                return
