"""Interface of the checks of what one client and its servers send."""


class Observer:
    """Observer of what a client and its servers send; this one does nothing."""

    def polled(self, pending: int) -> None:
        """Observe the begin of a poll; so many are pending."""

    def sent(self, text: str) -> None:
        """Observe a message that the client sends on a WebSocket."""

    def received(self, connection: object, text: str) -> None:
        """Observe a message that the client receives on a WebSocket."""

    def refused(self, body: bytes) -> None:
        """Observe the answer to a request with a token that the server does not accept."""

    def answered(self, path: str, asked: bytes, answer: bytes) -> None:
        """Observe a request and the server's answer to it."""
