"""RFC 6455, through real sockets: every category that conformance suites of WebSocket have."""

from collections.abc import Iterator

import pytest

from realtime_bridge.protocol.session.timing import SessionTiming
from realtime_bridge.protocol.wire import messages
from realtime_bridge.server.timing import ServerTiming
from tests.server.harness import FAST, Serve, Site
from tests.server.raw import (
    ACCEPT,
    BINARY,
    CLOSE,
    CONTINUATION,
    KEY,
    PING,
    PONG,
    TEXT,
    Raw,
    frame,
    message_frame,
    request,
)

NONCE = messages.encode("ping", nonce="alive")
PROTOCOL_ERROR, BAD_TEXT = 1002, 1007


@pytest.fixture
def shell() -> str:
    """Run these over the shell whose wire is our own."""
    return FAST


@pytest.fixture
async def raw(site: Site) -> Raw:
    return await Raw.connect(site)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


class TestHandshake:
    async def test_the_key_is_answered_as_the_rfc_has_it(self, site: Site) -> None:
        raw = await Raw.dial(site)
        raw.send(request(site, sec_websocket_protocol="other, realtime.v1"))
        status, headers = await raw.answer()
        assert status == 101
        assert headers["sec-websocket-accept"] == ACCEPT
        assert headers["sec-websocket-protocol"] == "realtime.v1"
        assert headers["upgrade"] == "websocket"

    async def test_no_extension_is_agreed_to(self, site: Site) -> None:
        raw = await Raw.dial(site)
        raw.send(request(site, sec_websocket_extensions="permessage-deflate"))
        _, headers = await raw.answer()
        assert "sec-websocket-extensions" not in headers

    @pytest.mark.parametrize(
        ("changed", "status"),
        [
            ({"sec_websocket_version": "8"}, 426),
            ({"sec_websocket_version": None}, 426),
            ({"sec_websocket_key": None}, 400),
            ({"sec_websocket_key": "short"}, 400),
            ({"sec_websocket_key": KEY[:-4]}, 400),
        ],
    )
    async def test_invalid_upgrade_is_rejected(
        self, site: Site, changed: dict[str, str | None], status: int
    ) -> None:
        raw = await Raw.dial(site)
        raw.send(request(site, **changed))
        answered, headers = await raw.answer()
        assert answered == status
        assert headers["connection"] == "close"
        assert headers.get("sec-websocket-version") == ("13" if status == 426 else None)

    async def test_a_request_that_arrives_byte_by_byte_is_understood(self, site: Site) -> None:
        raw = await Raw.dial(site)
        for byte in pieces(request(site), 1):
            raw.send(byte)
            await raw.writer.drain()
        assert (await raw.answer())[0] == 101


class TestMessages:
    @pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 65_535, 65_536])
    async def test_a_message_of_any_size_is_taken(self, site: Site, size: int) -> None:
        raw = await Raw.connect(site)
        empty = len(messages.encode("ping", nonce="a", x=""))
        padding = "x" * max(0, size - empty)
        raw.send(message_frame("ping", nonce="a", x=padding))
        assert (await raw.message())["nonce"] == "a"

    async def test_lengths_wider_than_they_have_to_be_are_understood(self, raw: Raw) -> None:
        for width in (2, 8):
            raw.send(frame(TEXT, NONCE, width=width))
            assert (await raw.message())["nonce"] == "alive"

    async def test_text_is_unmasked_whatever_the_mask(self, raw: Raw) -> None:
        for mask in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\x80\x7f\x00"):
            raw.send(frame(TEXT, NONCE, mask=mask))
            assert (await raw.message())["nonce"] == "alive"

    async def test_text_is_unicode(self, raw: Raw) -> None:
        raw.send(message_frame("ping", nonce="κόσμε \U0001f980 \u0000"))
        assert (await raw.message())["nonce"] == "κόσμε \U0001f980 \u0000"

    async def test_messages_that_arrive_together_are_all_answered_in_order(self, raw: Raw) -> None:
        raw.send(b"".join(message_frame("ping", nonce=str(number)) for number in range(20)))
        assert [(await raw.message())["nonce"] for _ in range(20)] == [str(n) for n in range(20)]

    @pytest.mark.parametrize("size", [1, 2, 3, 7])
    async def test_a_message_may_arrive_in_pieces(self, raw: Raw, size: int) -> None:
        for piece in pieces(
            message_frame("ping", nonce="a", x="x" * 130) + message_frame("ping", nonce="b"), size
        ):
            raw.send(piece)
            await raw.writer.drain()
        assert (await raw.message())["nonce"] == "a"
        assert (await raw.message())["nonce"] == "b"

    async def test_data_before_the_upgrade_response_is_dropped(self, serve: Serve) -> None:
        """HTTP servers drop what comes with an upgrade, and no client may send it."""
        site = await serve(timing=ServerTiming(session=SessionTiming(connect=0.02)))
        raw = await Raw.dial(site)
        raw.send(request(site) + message_frame("connect", token=site.token()))
        assert (await raw.answer())[0] == 101
        assert (await raw.message())["code"] == 4408
        assert await raw.closed() == 4408


class TestFragments:
    async def test_fragments_are_one_message(self, raw: Raw) -> None:
        first, *more = pieces(NONCE, 5)
        raw.send(frame(TEXT, first, final=False))
        raw.send(*[frame(CONTINUATION, piece, final=False) for piece in more])
        raw.send(frame(CONTINUATION, b"", final=True))
        assert (await raw.message())["nonce"] == "alive"

    async def test_a_character_may_be_divided_between_fragments(self, raw: Raw) -> None:
        whole = '{"type":"ping","nonce":"κ"}'.encode()
        cut = whole.index("κ".encode()) + 1
        raw.send(frame(TEXT, whole[:cut], final=False), frame(CONTINUATION, whole[cut:]))
        assert (await raw.message())["nonce"] == "κ"

    async def test_control_frames_may_come_in_between(self, raw: Raw) -> None:
        raw.send(frame(TEXT, NONCE[:9], final=False), frame(PING, b"between"))
        assert await raw.frame() == (0x80 | PONG, b"between")
        raw.send(frame(PONG, b"unsolicited"), frame(CONTINUATION, NONCE[9:]))
        assert (await raw.message())["nonce"] == "alive"

    async def test_together_they_are_no_larger_than_one_frame_may_be(self, raw: Raw) -> None:
        raw.send(frame(TEXT, b"x" * 40_000, final=False))
        raw.send(frame(CONTINUATION, b"x" * 40_000, final=False))
        error = await raw.message()
        assert (error["code"], "65,536" in error["message"]) == (4400, True)
        raw.send(frame(CONTINUATION, b"x" * 40_000))
        assert await raw.closed() == 4400

    @pytest.mark.parametrize(
        "broken",
        [
            frame(CONTINUATION, b"of nothing"),
            frame(CONTINUATION, b"of nothing", final=False),
            frame(TEXT, b"a", final=False) + frame(TEXT, b"b"),
            frame(TEXT, b"a", final=False) + frame(BINARY, b"b", final=False),
        ],
    )
    async def test_out_of_their_order_they_end_the_connection(
        self, raw: Raw, broken: bytes
    ) -> None:
        raw.send(broken)
        assert await raw.closed() == PROTOCOL_ERROR


class TestControl:
    @pytest.mark.parametrize("payload", [b"", b"hello", bytes(range(125)), b"\xff\xfe\x00"])
    async def test_pong_has_the_payload_of_the_ping(self, raw: Raw, payload: bytes) -> None:
        raw.send(frame(PING, payload))
        assert await raw.frame() == (0x80 | PONG, payload)

    async def test_unsolicited_pong_is_ignored(self, raw: Raw) -> None:
        raw.send(frame(PONG, b"hello"))
        await raw.pong()

    @pytest.mark.parametrize(
        "broken",
        [
            frame(PING, b"x" * 126),
            frame(PING, b"x", final=False),
            frame(CLOSE, b"x" * 126),
            frame(PONG, b"x" * 126),
            *(frame(opcode) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
            *(frame(TEXT, NONCE, reserved=bit) for bit in (0x40, 0x20, 0x10, 0x70)),
            frame(PING, b"", reserved=0x40),
            frame(TEXT, NONCE, mask=None),
            frame(CLOSE, b"", mask=None),
        ],
        ids=lambda data: data[:4].hex(),
    )
    async def test_a_frame_that_the_rfc_forbids_ends_the_connection(
        self, raw: Raw, broken: bytes
    ) -> None:
        raw.send(broken)
        assert await raw.closed() == PROTOCOL_ERROR


class TestText:
    @pytest.mark.parametrize(
        "payload", [b"\xff", b"\xce\xba\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xce"]
    )
    async def test_text_that_is_not_utf8_closes_the_connection(
        self, raw: Raw, payload: bytes
    ) -> None:
        raw.send(frame(TEXT, payload))
        assert await raw.closed() == BAD_TEXT

    async def test_also_when_only_all_fragments_together_are_wrong(self, raw: Raw) -> None:
        raw.send(frame(TEXT, b"\xce", final=False), frame(CONTINUATION, b"\xce"))
        assert await raw.closed() == BAD_TEXT


class TestClosing:
    @pytest.mark.parametrize(
        "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999]
    )
    async def test_a_close_is_answered_with_its_code(self, raw: Raw, code: int) -> None:
        raw.send(frame(CLOSE, code.to_bytes(2) + b"bye"))
        first, payload = await raw.frame()
        assert (first, int.from_bytes(payload[:2])) == (0x80 | CLOSE, code)
        await raw.ended()

    async def test_a_close_without_a_code_is_answered(self, raw: Raw) -> None:
        raw.send(frame(CLOSE))
        assert (await raw.frame())[0] == 0x80 | CLOSE
        await raw.ended()

    @pytest.mark.parametrize(
        "code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535]
    )
    async def test_a_code_that_may_not_be_sent_is_a_broken_protocol(
        self, raw: Raw, code: int
    ) -> None:
        raw.send(frame(CLOSE, code.to_bytes(2)))
        assert await raw.closed() == PROTOCOL_ERROR

    async def test_half_a_code_is_a_broken_protocol(self, raw: Raw) -> None:
        raw.send(frame(CLOSE, b"\x03"))
        assert await raw.closed() == PROTOCOL_ERROR

    async def test_a_reason_that_is_not_utf8_is_a_broken_text(self, raw: Raw) -> None:
        raw.send(frame(CLOSE, b"\x03\xe8\xff"))
        assert await raw.closed() == BAD_TEXT

    async def test_data_after_a_close_is_ignored(self, raw: Raw) -> None:
        raw.send(
            frame(CLOSE, b"\x03\xe8") + frame(PING, b"late") + message_frame("ping", nonce="late")
        )
        assert await raw.frame() == (0x80 | CLOSE, b"\x03\xe8")
        await raw.ended()

    async def test_nothing_is_written_after_our_close(self, raw: Raw) -> None:
        raw.send(frame(TEXT, b"nonsense"))
        assert (await raw.message())["type"] == "error"
        assert (await raw.frame())[0] == 0x80 | CLOSE
        raw.send(
            frame(PING, b"late"), message_frame("ping", nonce="late"), frame(CLOSE, b"\x03\xe8")
        )
        await raw.ended()

    async def test_client_that_never_answers_the_close_is_aborted(self, serve: Serve) -> None:
        site = await serve(timing=ServerTiming(close=0.02))
        raw = await Raw.connect(site)
        raw.send(frame(TEXT, b"nonsense"))
        await raw.message()
        await raw.frame()
        await raw.ended()

    async def test_partial_frame_before_disconnect_leaves_no_state(self, serve: Serve) -> None:
        site = await serve()
        raw = await Raw.connect(site)
        raw.send(message_frame("ping", nonce="cut")[:7])
        await raw.writer.drain()
        raw.writer.close()
        await site.left_nothing()
