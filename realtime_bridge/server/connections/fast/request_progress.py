"""Progress of the request that a parser reads."""


class RequestProgress:
    """Parts of a request that have arrived.

    Attributes:
        in_head: whether the next bytes are the head's; trailers are no part of a head.
        in_body: whether the next bytes are the body's, or trailers.
        has_begun: whether a request has begun whose head is not complete.
        body_bytes: bytes of the body since the last look.

    Args:
        most: the limit of a head, and of bytes in which the parser finds nothing.

    """

    def __init__(self, most: int) -> None:
        self.in_head: bool = True
        self.in_body: bool = False
        self.has_begun: bool = False
        self.body_bytes: int = 0
        self._most = most
        self._head_bytes = 0
        self._is_seen = False
        """True if the parser found something in the present piece."""
        self._idle_bytes = 0
        """Bytes since the parser's last find: the head so far, or trailers."""

    def begin(self) -> None:
        """Begin a request."""
        self.in_head, self.has_begun, self._head_bytes = True, True, 0

    def add_head(self, size: int) -> None:
        """Add bytes of the head."""
        self._head_bytes += size

    def begin_body(self) -> bool:
        """Begin the body, and return whether the head is within its limit."""
        self.in_head, self.in_body, self._is_seen = False, True, True
        self.body_bytes = 0
        return self._head_bytes <= self._most

    def add_body(self, size: int) -> None:
        """Add bytes of the body."""
        self._is_seen = True
        self.body_bytes += size

    def end(self) -> None:
        """End the request."""
        self.in_head, self.in_body, self.has_begun = True, False, False
        self._is_seen = True

    def begin_piece(self) -> None:
        """Begin a piece of bytes for the parser."""
        self._is_seen = False

    def end_piece(self, size: int) -> bool:
        """End a piece, and return whether the bytes without a find are within the limit."""
        self._idle_bytes = 0 if self._is_seen else self._idle_bytes + size
        return self._idle_bytes <= self._most
