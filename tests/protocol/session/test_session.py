"""Tests of the server's session: each message, limit and timer."""

from collections.abc import Iterable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.session.session import Session
from realtime_bridge.protocol.session.session_commands import (
    Close,
    Command,
    ConnectionLimits,
    Send,
    Subscribe,
    Unsubscribe,
    VerifyToken,
)
from realtime_bridge.protocol.session.subscription import HEARTBEAT_OFFSETS, ChannelSubscription
from realtime_bridge.protocol.session.timing import SessionTiming
from realtime_bridge.protocol.wire import messages
from realtime_bridge.protocol.wire.close_codes import CloseCode

EPOCH = "k3v9q2wz"
AHEAD_OF_ALL = 1_000_000.0
"""A token's expiry that no test reaches."""

TIMING = SessionTiming(progress_check=AHEAD_OF_ALL)
"""The usual durations; the tests report the progress of slow clients themselves."""


def frame(kind: str, **fields: Any) -> str:
    return messages.encode(kind, **fields).decode()


def opened(**limits: Any) -> Session:
    return Session(ConnectionLimits(**limits), TIMING, draw=0.5, now=0.0)


def admitted(**limits: Any) -> Session:
    session = opened(**limits)
    session.accept("42", "c_8f", expires=AHEAD_OF_ALL, now=0.0)
    return session


def requested(commands: Iterable[Command]) -> list[tuple[str, Position | None]]:
    """Return the channels and positions that the commands, all of them, subscribe to."""
    subscribes = [command for command in commands if isinstance(command, Subscribe)]
    assert len(subscribes) == len(list(commands))
    return [(command.subscription.channel, command.position) for command in subscribes]


def answer(
    session: Session, channel: str | ChannelSubscription, offset: int, *, more: bool
) -> bool:
    """Answer a subscription with an empty page; return whether the client got the answer."""
    page = Page(events=(), top=Position(EPOCH, offset), more=more)
    subscription = session.subscriptions[channel] if isinstance(channel, str) else channel
    return bool(session.subscription_ready(subscription, page, recovered=True))


def live(session: Session, channel: str) -> bool:
    """Return whether events of the channel are written to the client."""
    subscription = session.subscriptions.get(channel)
    return subscription is not None and not subscription.behind


def subscribed(*channels: str, now: float = 0.0, offset: int = 0, **limits: Any) -> Session:
    session = admitted(**limits)
    for channel in channels:
        session.receive(frame("subscribe", channel=channel), now)
        assert answer(session, channel, offset, more=False)
    return session


def slow_at_one_second() -> Session:
    """Return a session whose client became slow at 1 s, with 100 unsent bytes."""
    session = Session(ConnectionLimits(), SessionTiming(), draw=0.5, now=0.0)
    session.accept("42", "c_8f", expires=AHEAD_OF_ALL, now=0.0)
    session.mark_slow(1.0, unsent=100)
    return session


def sent(commands: Iterable[Command]) -> list[dict[str, Any]]:
    return [orjson.loads(command.message) for command in commands if isinstance(command, Send)]


def refusal(commands: list[Command]) -> tuple[int, str]:
    (refused,) = sent(commands)
    assert refused["type"] == "refused"
    return refused["code"], refused["message"]


def failure(commands: list[Command]) -> tuple[int, int, str]:
    """Return the close code, and the error before it."""
    error_command, close = commands
    assert isinstance(close, Close)
    (error,) = sent([error_command])
    assert error["type"] == "error"
    assert close.reason == error["message"][:120]
    return close.code, error["code"], error["message"]


def nothing(_: str) -> int | None:
    return None


def heartbeat(session: Session, now: float, tops: dict[str, int]) -> dict[str, int]:
    (beat,) = sent(session.tick(now, tops.get, unsent=0))
    assert beat["type"] == "heartbeat"
    offsets: dict[str, int] = beat["offsets"]
    return offsets


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


class TestSubscribing:
    def test_a_subscription_is_opened_from_its_position(self) -> None:
        position = Position(EPOCH, 5, "e5")
        text = frame("subscribe", channel="job.7", position=position.to_json())
        session = admitted()
        commands = session.receive(text, 0.0)
        assert requested(commands) == [("job.7", position)]
        assert not live(session, "job.7")
        assert answer(session, "job.7", 5, more=False)
        assert live(session, "job.7")

    def test_while_there_are_more_pages_nothing_is_pushed(self) -> None:
        session = admitted()
        session.receive(frame("subscribe", channel="job.7"), 0.0)
        answer(session, "job.7", 500, more=True)
        assert not live(session, "job.7")
        session.receive(frame("subscribe", channel="job.7"), 0.0)
        answer(session, "job.7", 600, more=False)
        assert live(session, "job.7")

    @pytest.mark.parametrize("name", ["", "job 7", "x" * 129, "private-job", "job/7", "j\u00f6b"])
    def test_bad_channel_name_is_denied_and_connection_continues(self, name: str) -> None:
        session = admitted()
        code, message = refusal(session.receive(frame("subscribe", channel=name), 0.0))
        assert (code, "channel" in message) == (400, True)
        assert requested(session.receive(frame("subscribe", channel="job.7"), 0.0)) == [
            ("job.7", None)
        ]

    def test_one_channel_too_many_is_refused_until_another_is_left(self) -> None:
        session = subscribed("a", "b", channels=2)
        assert refusal(session.receive(frame("subscribe", channel="c"), 0.0))[0] == 429
        left = session.subscriptions["a"]
        assert session.receive(frame("unsubscribe", channel="a"), 0.0) == [Unsubscribe(left)]
        assert requested(session.receive(frame("subscribe", channel="c"), 0.0)) == [("c", None)]

    def test_a_refused_channel_takes_no_place(self) -> None:
        session = admitted(channels=1)
        session.receive(frame("subscribe", channel="a"), 0.0)
        assert refusal(session.deny_subscription("a", 403, "no")) == (403, "no")
        assert not live(session, "a")
        assert requested(session.receive(frame("subscribe", channel="b"), 0.0)) == [("b", None)]

    def test_second_subscribe_while_opening_closes_the_connection(self) -> None:
        session = admitted()
        session.receive(frame("subscribe", channel="a"), 0.0)
        code, _, message = failure(session.receive(frame("subscribe", channel="a"), 0.0))
        assert (code, message) == (CloseCode.PROTOCOL, "a is being subscribed already")

    def test_subscribing_again_later_recovers(self) -> None:
        session = subscribed("a")
        assert requested(session.receive(frame("subscribe", channel="a"), 0.0)) == [("a", None)]
        assert not live(session, "a")

    def test_answer_to_an_ended_subscription_is_not_sent(self) -> None:
        session = admitted()
        session.receive(frame("subscribe", channel="a"), 0.0)
        ended = session.subscriptions["a"]
        session.receive(frame("unsubscribe", channel="a"), 0.0)
        assert not answer(session, ended, 5, more=False)
        assert not live(session, "a")

    def test_answer_to_a_replaced_subscription_is_not_sent(self) -> None:
        session = admitted()
        session.receive(frame("subscribe", channel="a"), 0.0)
        ended = session.subscriptions["a"]
        session.receive(frame("unsubscribe", channel="a"), 0.0)
        session.receive(frame("subscribe", channel="a"), 0.0)
        assert not answer(session, ended, 5, more=False)
        assert answer(session, "a", 6, more=False)

    def test_an_answer_after_the_end_is_not_sent(self) -> None:
        session = admitted()
        session.receive(frame("subscribe", channel="a"), 0.0)
        session.reject(CloseCode.TOKEN, "no")
        assert not answer(session, "a", 5, more=False)

    def test_unsubscribe_without_subscription_does_nothing(self) -> None:
        assert admitted().receive(frame("unsubscribe", channel="a"), 0.0) == []


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
        code, _, message = failure(session.reject(CloseCode.PROTOCOL, messages.oversized(1_000)))
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


class TestRate:
    def test_burst_of_two_seconds_is_accepted_and_no_more(self) -> None:
        session = admitted()
        for _ in range(40):
            assert sent(session.receive(frame("ping", nonce="n"), 0.0)) == [
                {"type": "pong", "nonce": "n"}
            ]
        code, error_code, message = failure(session.receive(frame("ping"), 0.0))
        assert (code, error_code) == (4429, 429)
        assert message == "over 20 frames a second"

    def test_steady_rate_is_never_limited(self) -> None:
        session = admitted()
        for second in range(100):
            for _ in range(20):
                assert len(session.receive(frame("ping"), float(second))) == 1

    def test_idle_time_earns_no_more_than_a_burst(self) -> None:
        session = admitted()
        for _ in range(40):
            assert len(session.receive(frame("ping"), 1_000.0)) == 1
        assert failure(session.receive(frame("ping"), 1_000.0))[1] == 429

    def test_the_frames_before_connect_count_too(self) -> None:
        session = opened(frames_per_second=1.0)
        for _ in range(2):
            assert session.receive(frame("connect", token="t"), 0.0) == [VerifyToken("t", None)]
        assert failure(session.receive(frame("connect", token="t"), 0.0))[1] == 429

    def test_all_channels_can_be_subscribed_at_once(self) -> None:
        session = admitted()
        for number in range(128):
            text = frame("subscribe", channel=f"job.{number}")
            assert requested(session.receive(text, 0.0)) == [(f"job.{number}", None)]

    def test_all_channels_can_be_recovered_at_once_after_a_demotion(self) -> None:
        session = subscribed(*(f"job.{number}" for number in range(128)))
        session.mark_slow(1.0, unsent=0)
        session.mark_progress(1.0, unsent=0)
        for number in range(128):
            text = frame("subscribe", channel=f"job.{number}")
            assert requested(session.receive(text, 1.0)) == [(f"job.{number}", None)]

    def test_repeated_denied_subscriptions_are_rate_limited(self) -> None:
        session = admitted()
        asked = 0
        while commands := session.receive(frame("subscribe", channel="secret"), 0.0):
            if not isinstance(commands[0], Subscribe):
                break
            asked += 1
            session.deny_subscription("secret", 403, "no")
        assert refusal(commands)[0] == 429
        assert asked == 128 + 40

    def test_over_the_limit_a_subscription_is_refused_for_now(self) -> None:
        session = subscribed("a")
        for _ in range(40):
            session.receive(frame("subscribe", channel="a"), 0.0)
            answer(session, "a", 1, more=False)
        here = session.subscriptions["a"]
        unsubscribe, *commands = session.receive(frame("subscribe", channel="a"), 0.0)
        assert unsubscribe == Unsubscribe(here)
        assert refusal(commands) == (429, "over 20 frames a second")
        assert requested(session.receive(frame("subscribe", channel="a"), 5.0)) == [("a", None)]

    def test_all_channels_can_be_left_at_once(self) -> None:
        session = subscribed(*(f"job.{number}" for number in range(128)))
        for number in range(128):
            left = session.subscriptions[f"job.{number}"]
            text = frame("unsubscribe", channel=f"job.{number}")
            assert session.receive(text, 1.0) == [Unsubscribe(left)]

    @pytest.mark.parametrize("number", [1, 41, 128])
    def test_one_frame_leaves_many_channels_and_costs_as_much_as_one(self, number: int) -> None:
        names = [f"job.{each}" for each in range(number)]
        session = subscribed(*names)
        left = [Unsubscribe(session.subscriptions[name]) for name in names]
        assert session.receive(frame("unsubscribe", channels=[*names, "unknown"]), 1.0) == left
        assert session.subscriptions == {}
        for _ in range(39):
            assert sent(session.receive(frame("ping", nonce="n"), 1.0))

    def test_page_may_replace_all_its_channels_twice_at_once(self) -> None:
        session = admitted()
        names = [f"job.{number}" for number in range(128)]
        for _ in range(3):
            for name in names:
                assert requested(session.receive(frame("subscribe", channel=name), 0.0))
            session.receive(frame("unsubscribe", channels=names), 0.0)
        for name in names[:39]:
            session.receive(frame("subscribe", channel=name), 0.0)
        commands = session.receive(frame("subscribe", channel="job.39"), 0.0)
        assert refusal(commands) == (429, "over 20 frames a second")
        assert requested(session.receive(frame("subscribe", channel="job.40"), 10.0))

    def test_leaving_and_subscribing_again_is_not_free(self) -> None:
        session = admitted()
        commands: list[Command] = []
        for _ in range(40 + 128 + 1):
            assert session.receive(frame("subscribe", channel="a"), 0.0)
            commands = session.receive(frame("unsubscribe", channel="a"), 0.0)
        assert failure(commands)[:2] == (4429, 429)

    def test_each_reset_allows_one_subscription_more(self) -> None:
        names = [f"job.{number}" for number in range(128)]
        session = subscribed(*names)
        for name in names:
            session.mark_reset(name, 1)
        session.mark_reset("elsewhere", 1)
        for name in names:
            text = frame("subscribe", channel=name)
            assert requested(session.receive(text, 1.0)) == [(name, None)]
            answer(session, name, 1, more=False)
        for name in names[:40]:
            assert requested(session.receive(frame("subscribe", channel=name), 1.0))
            answer(session, name, 1, more=False)
        commands = session.receive(frame("subscribe", channel=names[40]), 1.0)
        assert refusal(commands[1:])[0] == 429

    def test_reported_channels_can_be_recovered_at_once(self) -> None:
        names = [f"job.{number}" for number in range(50)]
        session = subscribed(*names)
        session.tick(11.0, lambda _: 7, unsent=0)
        for name in names:
            text = frame("subscribe", channel=name)
            assert requested(session.receive(text, 11.0)) == [(name, None)]


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
        channels = [f"job.{number}" for number in range(120)]
        session = subscribed(*channels)
        tops = dict.fromkeys(channels, 1)
        reported = [heartbeat(session, now, tops) for now in (10.0, 20.0, 30.0)]
        assert [len(offsets) for offsets in reported] == [HEARTBEAT_OFFSETS, HEARTBEAT_OFFSETS, 20]
        assert set().union(*reported) == set(channels)

    def test_no_channel_starves_while_others_change(self) -> None:
        channels = [f"job.{number}" for number in range(128)]
        session = subscribed(*channels)
        reported: set[str] = set()
        for beat in range(1, 4):
            reported |= heartbeat(session, beat * 10.0, dict.fromkeys(channels, beat)).keys()
        assert reported == set(channels)


class TestSlowReaders:
    def test_slow_client_gets_no_events_until_it_subscribes_again(self) -> None:
        session = subscribed("a", "b")
        assert session.mark_slow(1.0, unsent=0) == []
        assert not live(session, "a")
        assert not live(session, "b")
        session.receive(frame("subscribe", channel="a"), 2.0)
        answer(session, "a", 9, more=False)
        assert live(session, "a")
        assert not live(session, "b")

    def test_overflowing_while_demoted_changes_nothing(self) -> None:
        session = subscribed("a")
        assert session.mark_slow(1.0, unsent=0) == []
        assert session.mark_slow(2.0, unsent=0) == []
        session.tick(10.0, nothing, unsent=0)
        assert session.next_wakeup == 1.0 + TIMING.stalled

    def test_twice_in_a_minute_is_once_too_often(self) -> None:
        session = subscribed("a")
        session.mark_slow(1.0, unsent=0)
        session.mark_progress(2.0, unsent=0)
        commands = session.mark_slow(1.0 + TIMING.slow_window - 0.1, unsent=0)
        assert failure(commands) == (
            CloseCode.SLOW,
            CloseCode.SLOW,
            "too slow, twice in a minute",
        )

    def test_once_a_minute_is_not_too_often(self) -> None:
        session = subscribed("a")
        for minute in range(5):
            now = minute * TIMING.slow_window
            assert session.mark_slow(now, unsent=0) == []
            session.mark_progress(now, unsent=0)

    def test_client_that_reads_nothing_for_ten_seconds_is_closed(self) -> None:
        session = subscribed("a")
        session.mark_slow(1.0, unsent=0)
        assert session.next_wakeup == min(10.0, 1.0 + TIMING.stalled)
        session.tick(10.0, nothing, unsent=0)
        assert session.next_wakeup == 1.0 + TIMING.stalled
        commands = session.tick(1.0 + TIMING.stalled, nothing, unsent=0)
        assert failure(commands) == (
            CloseCode.SLOW,
            CloseCode.SLOW,
            "nothing read for 10 s",
        )

    def test_client_that_reads_slowly_is_not_closed(self) -> None:
        session = subscribed("a")
        session.mark_slow(1.0, unsent=0)
        for now in range(2, 100, 9):
            session.mark_progress(float(now), unsent=10)
            assert all(isinstance(one, Send) for one in session.tick(now + 8.9, nothing, unsent=0))

    def test_client_that_has_read_everything_is_not_slow(self) -> None:
        session = subscribed("a")
        session.mark_slow(1.0, unsent=0)
        session.mark_progress(2.0, unsent=0)
        session.tick(11.0, nothing, unsent=0)
        assert session.next_wakeup > 1.0 + TIMING.stalled

    def test_partial_progress_restarts_the_stalled_time(self) -> None:
        session = slow_at_one_second()
        assert session.next_wakeup == 2.0
        assert session.tick(2.0, nothing, unsent=60) == []
        assert session.next_wakeup == 3.0
        # The heartbeat of 10 s is due as well; the client is closed 10 s after its progress.
        assert sent(session.tick(11.9, nothing, unsent=60))[0]["type"] == "heartbeat"
        assert session.next_wakeup == 12.0
        commands = session.tick(12.0, nothing, unsent=60)
        assert failure(commands)[::2] == (CloseCode.SLOW, "nothing read for 10 s")

    def test_more_unsent_bytes_are_no_progress(self) -> None:
        session = slow_at_one_second()
        assert session.tick(2.0, nothing, unsent=120) == []
        assert failure(session.tick(11.0, nothing, unsent=120))[0] == CloseCode.SLOW

    def test_client_found_without_unsent_bytes_is_not_slow(self) -> None:
        session = slow_at_one_second()
        assert session.tick(2.0, nothing, unsent=0) == []
        assert session.next_wakeup == 10.0

    def test_progress_of_a_quick_client_changes_nothing(self) -> None:
        session = subscribed("a")
        session.mark_progress(2.0, unsent=500)
        assert session.next_wakeup == 10.0


CHANNELS = ["a", "b", "c"]


class AnyCourse(RuleBasedStateMachine):
    """Whatever happens in whatever order, a session keeps to its limits and ends only once."""

    @initialize(draw=st.floats(0, 1, exclude_max=True))
    def start(self, draw: float) -> None:
        self.session = Session(ConnectionLimits(channels=2), TIMING, draw=draw, now=0.0)
        self.now = 0.0
        self.opening: list[ChannelSubscription] = []
        self.closed = 0
        self.tops: dict[str, int] = {}

    def perform(self, commands: list[Command]) -> None:
        for command in commands:
            assert not self.closed
            if isinstance(command, Subscribe):
                self.opening.append(command.subscription)
            elif isinstance(command, Close):
                self.closed += 1

    @rule(seconds=st.floats(0, 30))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.perform(self.session.tick(self.now, self.tops.get, unsent=0))

    @rule(user=st.sampled_from(["42", "42", "42", "43"]))
    def connect(self, user: str) -> None:
        for command in self.session.receive(frame("connect", token=user), self.now):
            if isinstance(command, VerifyToken):
                self.perform(self.session.accept(user, "c", expires=self.now + 60, now=self.now))
            else:
                self.perform([command])

    @rule(channel=st.sampled_from(CHANNELS), kind=st.sampled_from(["subscribe", "unsubscribe"]))
    def ask(self, channel: str, kind: str) -> None:
        self.perform(self.session.receive(frame(kind, channel=channel), self.now))

    @rule(more=st.booleans(), offset=st.integers(0, 9))
    def answer(self, *, more: bool, offset: int) -> None:
        if self.opening:
            subscription = self.opening.pop()
            now_live = answer(self.session, subscription, offset, more=more) and not more
            assert live(self.session, subscription.channel) == now_live or self.closed

    @rule(channel=st.sampled_from(CHANNELS), offset=st.integers(0, 99))
    def publish(self, channel: str, offset: int) -> None:
        self.tops[channel] = offset
        if not self.closed and live(self.session, channel) and offset > 90:
            self.perform(self.session.mark_slow(self.now, unsent=0))

    @rule(unsent=st.integers(0, 2))
    def read(self, unsent: int) -> None:
        self.session.mark_progress(self.now, unsent=unsent)

    @invariant()
    def ends_only_once(self) -> None:
        assert self.closed <= 1

    @invariant()
    def what_is_due_is_not_overdue_after_a_tick(self) -> None:
        self.perform(self.session.tick(self.now, self.tops.get, unsent=0))
        assert self.session.next_wakeup > self.now

    @invariant()
    def never_more_channels_are_live_than_allowed(self) -> None:
        assert sum(live(self.session, channel) for channel in CHANNELS) <= 2


TestAnyCourse = AnyCourse.TestCase
