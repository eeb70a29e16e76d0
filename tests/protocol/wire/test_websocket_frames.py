"""Tests of the encoder and the parser of WebSocket frames."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_bridge.protocol.wire import websocket_frames
from realtime_bridge.protocol.wire.close_codes import CloseCode
from realtime_bridge.protocol.wire.websocket_frames import (
    ControlFrame,
    Fragment,
    FrameParser,
    Received,
    WireError,
    encode_frame,
)
from tests.server.raw import BINARY, CLOSE, CONTINUATION, PING, TEXT, frame

LIMIT = 1_000


def take(parser: FrameParser) -> list[Received]:
    """Return all that the parser completes, up to an error, without the markers of fragments."""
    received: list[Received] = []
    while (frame := parser.next_frame()) is not None:
        if not isinstance(frame, Fragment):
            received.append(frame)
        if isinstance(frame, WireError):
            break
    return received


def read(*pieces: bytes) -> list[Received]:
    parser, received = FrameParser(LIMIT), []
    for piece in pieces:
        parser.feed(piece)
        received += take(parser)
    assert not parser.is_incomplete
    return received


@dataclass
class Sent:
    """Message, and the frames that carry it."""

    message: Received
    data: bytes


@st.composite
def messages(draw: st.DrawFn) -> Sent:
    if draw(st.booleans()):
        payload = draw(st.binary(max_size=125))
        return Sent(ControlFrame(PING, payload), frame(PING, payload))
    text = draw(st.text(max_size=200))
    whole, data, opcode = text.encode(), b"", TEXT
    for cut in draw(st.lists(st.integers(0, 20), max_size=5)):
        data += frame(opcode, whole[:cut], final=False)
        whole, opcode = whole[cut:], CONTINUATION
        if draw(st.booleans()):
            data += frame(websocket_frames.PONG, b"between")
    return Sent(text, data + frame(opcode, whole, mask=draw(st.binary(min_size=4, max_size=4))))


@given(sent=st.lists(messages(), max_size=6), sizes=st.lists(st.integers(1, 40), min_size=1))
def test_messages_are_parsed_from_pieces_of_any_size(sent: list[Sent], sizes: list[int]) -> None:
    data, pieces, turn = b"".join(item.data for item in sent), [], 0
    while data:
        size = sizes[turn % len(sizes)]
        pieces.append(data[:size])
        data, turn = data[size:], turn + 1
    pongs = ControlFrame(websocket_frames.PONG, b"between")
    assert [message for message in read(*pieces) if message != pongs] == [
        item.message for item in sent
    ]


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_encoded_frame_has_its_size(size: int) -> None:
    data = encode_frame(b"x" * size)
    assert data == frame(TEXT, b"x" * size, mask=None)


def test_binary_message_is_bytes() -> None:
    assert read(frame(BINARY, b"\xff")) == [b"\xff"]


def test_message_after_an_oversized_one_is_parsed() -> None:
    large = frame(TEXT, b"x" * (LIMIT + 1))
    for size in (1, 100, len(large)):
        pieces = [large[start : start + size] for start in range(0, len(large), size)]
        first, second = read(*pieces, frame(TEXT, b"next"))
        assert (isinstance(first, websocket_frames.Oversized), second) == (True, "next")


def test_oversized_fragmented_message_is_dropped() -> None:
    received = read(
        frame(TEXT, b"x" * LIMIT, final=False),
        frame(CONTINUATION, b"x", final=False),
        frame(CONTINUATION, b"x"),
        frame(TEXT, b"next"),
    )
    assert isinstance(received[0], websocket_frames.Oversized)
    assert received[-1] == "next"


def test_close_code_is_decoded_or_rejected() -> None:
    assert websocket_frames.decode_close_code(b"") == CloseCode.NO_CODE
    assert websocket_frames.decode_close_code(b"\x03\xe8bye") == 1000
    for payload in (b"\x03", b"\x03\xee", b"\x03\xe8\xff"):
        with pytest.raises(WireError):
            websocket_frames.decode_close_code(payload)


def test_long_close_reason_is_cut_between_characters() -> None:
    data = websocket_frames.encode_close(4400, "κ" * 100)
    assert data[1] <= 125
    assert data[4:].decode() == "κ" * 61


def test_message_in_single_bytes_is_parsed_when_complete() -> None:
    parser = FrameParser(LIMIT)
    data = frame(TEXT, b"first ", final=False) + frame(PING, b"p") + frame(CONTINUATION, b"last")
    received = []
    for position in range(len(data) - 1):
        parser.feed(data[position : position + 1])
        received += take(parser)
    assert (received, parser.is_incomplete) == ([ControlFrame(PING, b"p")], True)
    parser.feed(data[-1:])
    assert (take(parser), parser.is_incomplete) == (["first last"], False)


def test_close_frame_is_parsed_with_its_payload() -> None:
    assert read(frame(CLOSE, b"\x03\xe8bye")) == [ControlFrame(CLOSE, b"\x03\xe8bye")]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (frame(TEXT, b"x", reserved=0x40), "reserved bit or opcode is set"),
        (frame(3, b"x"), "reserved bit or opcode is set"),
        (frame(TEXT, b"x", mask=None), "frame is not masked"),
        (frame(PING, b"x", final=False), "control frame is fragmented or over 125 bytes"),
        (frame(PING, b"x" * 126), "control frame is fragmented or over 125 bytes"),
        (frame(CONTINUATION, b"x"), "fragment is out of order"),
        (frame(TEXT, b"x", final=False) + frame(TEXT, b"x"), "fragment is out of order"),
        (frame(CLOSE, b"\x03"), "invalid close code"),
    ],
)
def test_violation_is_an_error_after_earlier_messages(data: bytes, reason: str) -> None:
    parser = FrameParser(LIMIT)
    parser.feed(frame(TEXT, b"before") + data)
    message, error = take(parser)
    assert message == "before"
    assert isinstance(error, WireError)
    assert (error.code, error.reason) == (CloseCode.PROTOCOL_ERROR, reason)


@pytest.mark.parametrize("data", [frame(TEXT, b"\xff"), frame(CLOSE, b"\x03\xe8\xff")])
def test_text_that_is_not_utf8_is_an_error(data: bytes) -> None:
    parser = FrameParser(LIMIT)
    parser.feed(data)
    (error,) = take(parser)
    assert isinstance(error, WireError)
    assert (error.code, error.reason) == (CloseCode.INVALID_TEXT, "text is not UTF-8")


def test_each_frame_is_taken_on_its_own() -> None:
    parser = FrameParser(LIMIT)
    parser.feed(frame(TEXT, b"", final=False) + frame(CONTINUATION, b"x") + frame(PING))
    assert isinstance(parser.next_frame(), Fragment)
    assert parser.is_incomplete
    assert parser.next_frame() == "x"
    assert parser.next_frame() == ControlFrame(PING, b"")
    assert (parser.next_frame(), parser.is_incomplete) == (None, False)
