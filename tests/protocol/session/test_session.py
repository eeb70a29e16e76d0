"""Tests of the server's session: connecting, tokens, messages and heartbeats."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_bridge.protocol.session.session import Session
from realtime_bridge.protocol.session.session_commands import (
    Close,
    ConnectionLimits,
    Send,
    VerifyToken,
)
from realtime_bridge.protocol.session.subscription import HEARTBEAT_OFFSETS
from realtime_bridge.protocol.wire import client_messages, messages
from realtime_bridge.protocol.wire.close_codes import CloseCode
from tests.protocol.session.sessions import (
    AHEAD_OF_ALL,
    TIMING,
    admitted,
    failure,
    frame,
    heartbeat,
    live,
    nothing,
    opened,
    sent,
    subscribed,
)


class TestConnecting:
    def test_the_first_frame_is_connect_and_its_token_is_verified(self) -> None:
        session = opened()
        commands = session.receive(frame("connect", token="t", nonce="n"), 1.0)
        assert commands == [VerifyToken("t", "n")]
        (welcome,) = sent(session.accept("42", "c_8f", expires=600.0, now=1.0, nonce="n"))
        assert welcome == {
            "type": "welcome",
            "nonce": "n",
            "client": "c_8f",
            "user": "42",
            "heartbeat": TIMING.heartbeat,
            "version": messages.VERSION,
        }

    @pytest.mark.parametrize(
        "first",
        [
            frame("subscribe", channel="job.7"),
            frame("unsubscribe", channel="job.7"),
            frame("ping"),
            frame("token", token="t"),
        ],
    )
    def test_any_other_first_frame_ends_the_connection(self, first: str) -> None:
        code, _, message = failure(opened().receive(first, 0.0))
        assert (code, message) == (CloseCode.PROTOCOL, "the first frame is connect")

    def test_client_that_does_not_connect_in_time_is_closed(self) -> None:
        session = opened()
        assert session.next_wakeup == TIMING.connect
        assert session.tick(TIMING.connect - 0.001, nothing, unsent=0) == []
        assert failure(session.tick(TIMING.connect, nothing, unsent=0))[:2] == (4408, 4408)

    def test_a_token_under_verification_does_not_stop_the_clock(self) -> None:
        session = opened()
        session.receive(frame("connect", token="t"), 4.9)
        assert failure(session.tick(5.0, nothing, unsent=0))[0] == 4408

    def test_a_rejected_token_ends_the_connection(self) -> None:
        rejected = opened().reject(CloseCode.TOKEN, "the token has expired")
        assert failure(rejected) == (4401, 4401, "the token has expired")
        assert failure(opened().reject(CloseCode.TOO_MANY_CONNECTIONS, "too many"))[0] == 4409

    def test_the_reason_of_a_close_fits_into_its_frame(self) -> None:
        commands = opened().receive(frame("x" * 60), 0.0)
        assert all(len(c.reason.encode()) <= 123 for c in commands if isinstance(c, Close))


class TestTokens:
    def test_the_connection_ends_with_the_token_and_the_skew(self) -> None:
        session = opened()
        session.accept("42", "c_8f", expires=15.0, now=0.0)
        end = 15.0 + TIMING.token_skew
        session.tick(end - 0.001, nothing, unsent=0)
        assert failure(session.tick(end, nothing, unsent=0)) == (
            4401,
            4401,
            "the token has expired",
        )

    def test_a_fresh_token_in_band_lets_it_go_on(self) -> None:
        session = opened()
        session.accept("42", "c_8f", expires=15.0, now=0.0)
        assert session.receive(frame("token", token="fresh"), 12.0) == [VerifyToken("fresh", None)]
        assert session.accept("42", "c_8f", expires=600.0, now=12.0) == []
        assert (
            sent(session.tick(15.0 + TIMING.token_skew, nothing, unsent=0))[0]["type"]
            == "heartbeat"
        )
        assert (
            failure(session.tick(600.0 + TIMING.token_skew, nothing, unsent=0))[0]
            == CloseCode.TOKEN
        )

    def test_connect_again_is_a_renewal_that_is_welcomed(self) -> None:
        session = subscribed("job.7")
        assert session.receive(frame("connect", token="t", nonce="m"), 1.0) == [
            VerifyToken("t", "m")
        ]
        (welcome,) = sent(session.accept("42", "c_9a", expires=600.0, now=1.0, nonce="m"))
        assert (welcome["nonce"], welcome["client"]) == ("m", "c_8f")
        assert live(session, "job.7")

    def test_a_token_of_another_user_ends_the_connection(self) -> None:
        session = subscribed("job.7")
        commands = session.accept("43", "c_8f", expires=AHEAD_OF_ALL, now=1.0)
        assert failure(commands) == (4401, 4401, "the token is another user's")
        assert session.user == "42"


class TestBadInput:
    @pytest.mark.parametrize(
        ("text", "wrong"),
        [
            (b'{"type":"ping"}', "binary"),
            (b"", "binary"),
            ("nonsense", "not JSON"),
            ('{"type":"hello"}', "unknown frame type"),
            (f'{{"type":"ping","nonce":"{"x" * 66_000}"}}', "over 65,536 bytes"),
            (f'{{"type":"ping","more":"{"é" * 33_000}"}}', "over 65,536 bytes"),
            (f'{{"type":"ping","more":"{"é" * 20_000}\ud800"}}', "not JSON"),
        ],
    )
    def test_it_ends_the_connection_with_its_own_message(
        self, text: str | bytes, wrong: str
    ) -> None:
        code, error_code, message = failure(admitted().receive(text, 0.0))
        assert (code, error_code) == (4400, 4400)
        assert wrong in message

    @pytest.mark.parametrize("letter", ["x", "é", "€"])
    def test_the_largest_frame_is_read_and_one_byte_more_is_not(self, letter: str) -> None:
        head, tail, size = '{"type":"ping","more":"', '"}', 64 * 1024
        letters = (size - len(head + tail)) // len(letter.encode())
        largest = head + letter * letters + tail
        largest += " " * (size - len(largest.encode()))
        assert len(largest.encode()) == size
        assert [answer["type"] for answer in sent(admitted().receive(largest, 0.0))] == ["pong"]
        assert failure(admitted().receive(largest + " ", 0.0))[0] == CloseCode.PROTOCOL

    def test_after_the_end_nothing_is_done_any_more(self) -> None:
        session = subscribed("a")
        session.receive(b"", 0.0)
        assert session.receive(frame("ping"), 0.0) == []
        assert session.tick(AHEAD_OF_ALL, nothing, unsent=0) == []
        assert session.mark_slow(1.0, unsent=0) == []
        assert session.next_wakeup == float("inf")

    @given(text=st.text() | st.binary(), known=st.booleans())
    def test_whatever_arrives_is_answered_or_ends_the_connection(
        self, text: str | bytes, *, known: bool
    ) -> None:
        session = admitted() if known else opened()
        commands = session.receive(text, 0.0)
        assert failure(commands)[0] == CloseCode.PROTOCOL

    def test_error_closes_the_connection_once(self) -> None:
        session = admitted()
        code, _, message = failure(
            session.reject(CloseCode.PROTOCOL, client_messages.oversized(1_000))
        )
        assert (code, message) == (CloseCode.PROTOCOL, "the frame is over 1,000 bytes")
        assert session.reject(CloseCode.PROTOCOL, "another error") == []


class TestServerMessages:
    def test_notice_is_sent_between_welcome_and_close(self) -> None:
        session, notice = opened(), b'{"type":"status"}'
        assert session.notify(notice) == []
        session.accept("42", "c_8f", expires=AHEAD_OF_ALL, now=0.0)
        assert session.notify(notice) == [Send(notice)]
        session.close(CloseCode.DRAINING, "the server stops")
        assert session.notify(notice) == []

    def test_close_by_the_server_reports_no_error_and_is_final(self) -> None:
        session = subscribed("a")
        closing = [Close(CloseCode.DRAINING, "the server stops")]
        assert session.close(CloseCode.DRAINING, "the server stops") == closing
        assert session.close(CloseCode.DISABLED, "push is switched off") == []
        assert session.receive(frame("ping"), 0.0) == []
        assert session.next_wakeup == float("inf")


class TestHeartbeats:
    def test_heartbeats_are_sent_every_ten_seconds_spread_by_a_tenth(self) -> None:
        for draw, first in ((0.0, 9.0), (0.5, 10.0), (255 / 256, 10.9921875)):
            session = Session(ConnectionLimits(), TIMING, draw=draw, now=0.0)
            session.accept("42", "c", expires=AHEAD_OF_ALL, now=3.0)
            assert session.next_wakeup == pytest.approx(3.0 + first)
            assert session.tick(session.next_wakeup - 0.001, nothing, unsent=0) == []
            due = session.next_wakeup
            assert heartbeat(session, due, {}) == {}
            assert session.next_wakeup == pytest.approx(due + first)

    def test_hastened_heartbeats_are_spread_and_repeat_the_report(self) -> None:
        moments = []
        for draw in (0.0, 0.5, 0.999):
            session = Session(ConnectionLimits(), TIMING, draw=draw, now=99.0)
            session.accept("42", "c", expires=AHEAD_OF_ALL, now=99.0)
            session.hasten_heartbeat(100.0, within=3.0)
            moments.append(session.next_wakeup)
            (beat,) = sent(session.tick(103.0, nothing, unsent=0, report={"generation": 7}))
            assert beat["generation"] == 7
        assert moments == [100.0, pytest.approx(101.5, abs=0.02), pytest.approx(103.0, abs=0.02)]

    def test_connection_without_a_user_is_hastened_in_nothing(self) -> None:
        session = opened()
        before = session.next_wakeup
        session.hasten_heartbeat(1.0, within=0.0)
        assert session.next_wakeup == before

    def test_heartbeat_has_offsets_changed_since_the_last_one(self) -> None:
        session = subscribed("a", "b", offset=3)
        assert heartbeat(session, 10.0, {"a": 3, "b": 5}) == {"b": 5}
        assert heartbeat(session, 20.0, {"a": 4, "b": 5}) == {"a": 4}
        assert heartbeat(session, 30.0, {"a": 4, "b": 5}) == {}

    def test_an_offset_that_went_back_has_moved_too(self) -> None:
        session = subscribed("a", offset=9)
        assert heartbeat(session, 10.0, {"a": 2}) == {"a": 2}

    def test_same_offset_in_a_new_epoch_is_reported_too(self) -> None:
        session = subscribed("a", offset=3)
        session.mark_reset("a", 0)
        session.mark_slow(1.0, unsent=0)
        assert heartbeat(session, 10.0, {"a": 3}) == {"a": 3}

    def test_heartbeat_omits_opening_and_unknown_channels(self) -> None:
        session = subscribed("a")
        session.receive(frame("subscribe", channel="b"), 0.0)
        assert heartbeat(session, 10.0, {"b": 7}) == {}

    def test_heartbeat_includes_paused_channels(self) -> None:
        session = subscribed("a", offset=3)
        session.mark_slow(1.0, unsent=0)
        assert heartbeat(session, 10.0, {"a": 8}) == {"a": 8}

    def test_when_too_many_moved_the_rest_waits_for_the_next(self) -> None:
        channels = [f"job.{number}" for number in range(320)]
        session = subscribed(*channels)
        tops = dict.fromkeys(channels, 1)
        reported = [heartbeat(session, now, tops) for now in (10.0, 20.0, 30.0)]
        assert [len(offsets) for offsets in reported] == [HEARTBEAT_OFFSETS, HEARTBEAT_OFFSETS, 20]
        assert set().union(*reported) == set(channels)

    def test_no_channel_starves_while_others_change(self) -> None:
        channels = [f"job.{number}" for number in range(ConnectionLimits().channels)]
        session = subscribed(*channels)
        reported: set[str] = set()
        for beat in range(1, 4):
            reported |= heartbeat(session, beat * 10.0, dict.fromkeys(channels, beat)).keys()
        assert reported == set(channels)
