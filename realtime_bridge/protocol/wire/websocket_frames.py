"""WebSocket frames (RFC 6455 §5): encoder for a server, parser for a client's frames."""

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
_WHOLE_TEXT = _FINAL | TEXT

# Codes that a close frame may carry: IANA's registry without the reserved 1004 to 1006 and 1015
# (RFC 6455 §7.4.1), and the range for libraries and applications (§7.4.2).
_REGISTERED = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}
_FREE = range(3000, 5000)
_OPCODES = (_CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG)


class WireError(Exception):
    """Violation of RFC 6455 by the client; it closes the connection with `code`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ControlFrame:
    """Ping, pong or close frame."""

    opcode: int
    payload: bytes


class Oversized:
    """Marker of a message over the limit; the parser drops the rest of it."""


class Fragment:
    """Marker of a frame that continues a message."""


Received = str | bytes | ControlFrame | Fragment | Oversized | WireError
"""Text or binary message, control frame, marker of a fragment or of a message over the limit, or
error."""


def encode_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return the payload as one frame; a server never masks (RFC 6455 §5.1)."""
    size = len(payload)
    if size < _SHORT:
        return _HEAD.pack(_FINAL | opcode, size) + payload
    if size < 1 << 16:
        return _MEDIUM_HEAD.pack(_FINAL | opcode, _SHORT, size) + payload
    return _LONG_HEAD.pack(_FINAL | opcode, _MEDIUM, size) + payload


def encode_close(code: int, reason: str) -> bytes:
    """Return the close frame of a code and a reason of up to 123 bytes; cut a longer one."""
    # `ignore` drops a character that the cut splits: the reason must be UTF-8 (RFC 6455 §5.5.1).
    text = reason.encode()[: _MAX_CONTROL - 2].decode(errors="ignore")
    return encode_frame(code.to_bytes(2, "big") + text.encode(), CLOSE)


def decode_close_code(payload: bytes) -> int:
    """Return the code of a close frame's payload.

    Raises:
        WireError: the code may not be sent, or the reason is not UTF-8.

    """
    if not payload:
        return CloseCode.NO_CODE
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not (code in _REGISTERED or code in _FREE):
        raise WireError(CloseCode.PROTOCOL_ERROR, "invalid close code")
    _text(payload[2:])
    return code


class FrameParser:
    """Incremental parser of a client's frames, which joins fragmented messages.

    The caller takes frame after frame, so that it decides how many are parsed in one turn.

    Args:
        limit: the largest message, in bytes.

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
    def is_incomplete(self) -> bool:
        """True while a message or a frame has begun, or bytes are not parsed."""
        return bool(self._opcode or self._skip or self._at < len(self._data))

    def feed(self, data: bytes) -> None:
        """Add bytes to parse."""
        self._data = self._data[self._at :] + data
        self._at = 0

    def next_frame(self) -> Received | None:
        """Parse one frame; return the message that it completes, or its marker.

        After an error there is nothing to parse. None means that more bytes have to come.
        """
        try:
            text = self._whole_text()
            return self._next() if text is None else text
        except WireError as error:
            return error

    def _whole_text(self) -> str | None:
        """Return a text that is one frame and has arrived; None leaves all others to `_next`.

        Nearly all messages are such texts: without the other steps they take half the time.
        """
        data, at = self._data, self._at
        is_between = not (self._skip or self._opcode)
        if not is_between or len(data) - at < 2 + _MASK_BYTES or data[at] != _WHOLE_TEXT:
            return None
        size, start = data[at + 1] - _MASKED, at + 2
        if size == _SHORT:
            size, start = data[at + 2] << 8 | data[at + 3], at + 4
        start += _MASK_BYTES
        end = start + size
        if not 0 <= size <= self._limit or size == _MEDIUM or end > len(data):
            return None
        self._at = end
        return _text(_unmasked(data[start - _MASK_BYTES : start], data[start:end]))

    def _next(self) -> Received | None:
        if not self._drop_skipped():
            return None
        head = self._head()
        return self._frame(*head) if head else None

    def _drop_skipped(self) -> bool:
        """Drop received bytes of a message over the limit; return False while more must come."""
        passed = min(self._skip, len(self._data) - self._at)
        self._at += passed
        self._skip -= passed
        return not self._skip

    def _head(self) -> tuple[int, int] | None:
        """Return the start and the size of the next frame's payload, or None."""
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
            # Network byte order (RFC 6455 §5.2).
            size = int.from_bytes(data[at : at + width], "big")
            at += width
        return at + _MASK_BYTES, size

    def _check(self, first: int, second: int) -> None:
        opcode = first & _OPCODE
        # A reserved bit belongs to an extension, and this server negotiates none (RFC 6455 §5.2):
        # DEFLATE costs over half of the speed and several times the memory (docs/performance.md).
        if first & _RESERVED or opcode not in _OPCODES:
            raise WireError(CloseCode.PROTOCOL_ERROR, "reserved bit or opcode is set")
        if not second & _MASKED:  # RFC 6455 §5.1
            raise WireError(CloseCode.PROTOCOL_ERROR, "frame is not masked")
        if opcode >= CLOSE:
            # Control frames may come between fragments, and have none themselves (RFC 6455 §5.5).
            if not first & _FINAL or second & _SIZE > _MAX_CONTROL:
                raise WireError(
                    CloseCode.PROTOCOL_ERROR, "control frame is fragmented or over 125 bytes"
                )
        elif (opcode == _CONTINUATION) != (self._opcode != _CONTINUATION):
            raise WireError(CloseCode.PROTOCOL_ERROR, "fragment is out of order")

    def _frame(self, start: int, size: int) -> Received | None:
        """Return the message that a frame completes, or a marker; None for a part of a frame."""
        data, first = self._data, self._data[self._at]
        final, opcode, end = first & _FINAL, first & _OPCODE, start + size
        # The header alone decides: the parser never buffers more of a message than the limit.
        if opcode < CLOSE and len(self._message) + size > self._limit:
            self._skip = end - self._at
            self._opcode = _CONTINUATION if final else self._opcode or opcode
            self._message = bytearray()
            return _OVERSIZED
        if len(data) < end:
            return None
        payload = _unmasked(data[start - _MASK_BYTES : start], data[start:end])
        self._at = end
        if opcode == CLOSE:
            decode_close_code(payload)
        if opcode >= CLOSE:
            return ControlFrame(opcode, payload)
        return self._assemble(payload, self._opcode or opcode, final=bool(final))

    def _assemble(self, payload: bytes, opcode: int, *, final: bool) -> str | bytes | Fragment:
        if not final:
            self._message += payload
            self._opcode = opcode
            return _FRAGMENT
        if self._message:
            payload = bytes(self._message) + payload
            self._message = bytearray()
        self._opcode = _CONTINUATION
        return _text(payload) if opcode == TEXT else payload


_FRAGMENT, _OVERSIZED = Fragment(), Oversized()


def _unmasked(mask: bytes, payload: bytes) -> bytes:
    """Return the payload without its mask.

    A single XOR of large integers: a loop over bytes takes twenty times as long.
    """
    size = len(payload)
    key = int.from_bytes((mask * (size // _MASK_BYTES + 1))[:size], "little")
    return (int.from_bytes(payload, "little") ^ key).to_bytes(size, "little")


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise WireError(CloseCode.INVALID_TEXT, "text is not UTF-8") from error
