"""Tests of the encoder and the parser of WebSocket frames."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_bridge.protocol.wire import websocket_frames
from realtime_bridge.protocol.wire.close_codes import CloseCode
from realtime_bridge.protocol.wire.websocket_frames import (
    ControlFrame,
    FrameParser,
    Received,
    WireError,
    encode_frame,
)
from tests.server.raw import BINARY, CONTINUATION, PING, TEXT, frame

LIMIT = 1_000


def read(*pieces: bytes) -> list[Received]:
    parser = FrameParser(LIMIT)
    for piece in pieces:
        parser.feed(piece)
    assert not parser.is_incomplete
    return list(parser.messages)


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
