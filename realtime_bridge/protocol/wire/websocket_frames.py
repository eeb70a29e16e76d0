"""WebSocket's own frames (RFC 6455): made for the client, and read from it."""

from dataclasses import dataclass
from struct import Struct

from realtime_bridge.protocol.wire.close_codes import CloseCode

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_CONTINUATION = 0
_FINAL, _RESERVED, _OPCODE, _MASKED, _SIZE = 0x80, 0x70, 0x0F, 0x80, 0x7F
_SHORT, _MEDIUM = 126, 127
_HEAD, _MEDIUM_HEAD, _LONG_HEAD = Struct(">BB"), Struct(">BBH"), Struct(">BBQ")
_MAX_CONTROL = 125
_MASK_BYTES = 4

_REGISTERED = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}
_FREE = range(3000, 5000)
_OPCODES = (_CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG)


class WireError(Exception):
    """The client broke the protocol; the connection ends with `code`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ControlFrame:
    """A ping, a pong or a close, and what it carries."""

    opcode: int
    payload: bytes


class Oversized:
    """A message over the limit, the rest of which is dropped as it arrives."""


class Incomplete:
    """Nothing is whole yet."""


Received = str | bytes | ControlFrame | Oversized
"""Text, binary data, a control frame, or the word that a message was too large."""


def encode_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return the payload as one unmasked frame."""
    size = len(payload)
    if size < _SHORT:
        return _HEAD.pack(_FINAL | opcode, size) + payload
    if size < 1 << 16:
        return _MEDIUM_HEAD.pack(_FINAL | opcode, _SHORT, size) + payload
    return _LONG_HEAD.pack(_FINAL | opcode, _MEDIUM, size) + payload


def encode_close(code: int, reason: str) -> bytes:
    """Return the frame that closes a connection; a reason that is too long is cut."""
    text = reason.encode()[: _MAX_CONTROL - 2].decode(errors="ignore")
    return encode_frame(code.to_bytes(2, "big") + text.encode(), CLOSE)


def decode_close_code(payload: bytes) -> int:
    """Read what a close frame carries.

    Raises:
        WireError: a code that may not be sent, or a reason that is not UTF-8.

    """
    if not payload:
        return CloseCode.NO_CODE
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not (code in _REGISTERED or code in _FREE):
        raise WireError(CloseCode.PROTOCOL_VIOLATION, "invalid close code")
    _text(payload[2:])
    return code


class FrameParser:
    """Puts a client's messages together, from whatever pieces they arrive in.

    Args:
        limit: the most bytes of one message.

    """

    __slots__ = ("_at", "_data", "_limit", "_message", "_opcode", "_skip")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = b""
        self._at = 0
        self._message = bytearray()
        self._opcode = _CONTINUATION
        self._skip = 0

    @property
    def idle(self) -> bool:
        """Whether nothing is incomplete: then a new one does as well."""
        return not (self._opcode or self._skip or self._at < len(self._data))

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""
        self._data = self._data[self._at :] + data
        self._at = 0

    def next(self) -> Received | None:
        """Return what is complete, in order; None when nothing is.

        Raises:
            WireError: the client broke the protocol.

        """
        while self._drop_skipped() and (head := self._head()):
            message = self._frame(*head)
            if isinstance(message, Incomplete):
                return None
            if message is not None:
                return message
        return None

    def _drop_skipped(self) -> bool:
        """Pass over what belongs to a message that was too large; False while more comes."""
        passed = min(self._skip, len(self._data) - self._at)
        self._at += passed
        self._skip -= passed
        return not self._skip

    def _head(self) -> tuple[int, int] | None:
        """Return where the next frame's payload begins, and its size."""
        data, at = self._data, self._at
        if len(data) - at < 2:  # noqa: PLR2004 -- the two bytes that every frame has
            return None
        self._check(data[at], data[at + 1])
        size = data[at + 1] & _SIZE
        at += 2
        if size >= _SHORT:
            width = 2 if size == _SHORT else 8
            if len(data) < at + width:
                return None
            size = int.from_bytes(data[at : at + width], "big")
            at += width
        return at + _MASK_BYTES, size

    def _check(self, first: int, second: int) -> None:
        opcode = first & _OPCODE
        if first & _RESERVED or opcode not in _OPCODES:
            raise WireError(CloseCode.PROTOCOL_VIOLATION, "reserved bits or opcode")
        if not second & _MASKED:
            raise WireError(CloseCode.PROTOCOL_VIOLATION, "a client masks its frames")
        if opcode >= CLOSE:
            if not first & _FINAL or second & _SIZE > _MAX_CONTROL:
                raise WireError(CloseCode.PROTOCOL_VIOLATION, "a control frame is short and whole")
        elif (opcode == _CONTINUATION) != (self._opcode != _CONTINUATION):
            raise WireError(CloseCode.PROTOCOL_VIOLATION, "a fragment is out of its order")

    def _frame(self, start: int, size: int) -> Received | Incomplete | None:
        """Take a frame whose head is there; None when the message goes on in another."""
        data, first = self._data, self._data[self._at]
        final, opcode, end = first & _FINAL, first & _OPCODE, start + size
        if opcode < CLOSE and len(self._message) + size > self._limit:
            self._skip = end - self._at
            self._opcode = _CONTINUATION if final else self._opcode or opcode
            self._message = bytearray()
            return _OVERSIZED
        if len(data) < end:
            return _INCOMPLETE
        payload = _unmasked(data[start - _MASK_BYTES : start], data[start:end])
        self._at = end
        if opcode >= CLOSE:
            return ControlFrame(opcode, payload)
        return self._assemble(payload, self._opcode or opcode, final=bool(final))

    def _assemble(self, payload: bytes, opcode: int, *, final: bool) -> str | bytes | None:
        if not final:
            self._message += payload
            self._opcode = opcode
            return None
        if self._message:
            payload = bytes(self._message) + payload
            self._message = bytearray()
        self._opcode = _CONTINUATION
        return _text(payload) if opcode == TEXT else payload


_OVERSIZED, _INCOMPLETE = Oversized(), Incomplete()


def _unmasked(mask: bytes, payload: bytes) -> bytes:
    """Return the payload without its mask, all of it in one operation on large numbers."""
    size = len(payload)
    key = int.from_bytes((mask * (size // _MASK_BYTES + 1))[:size], "little")
    return (int.from_bytes(payload, "little") ^ key).to_bytes(size, "little")


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise WireError(CloseCode.INVALID_TEXT, "the text is not UTF-8") from error
