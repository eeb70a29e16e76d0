"""Tests of the limits of a session: the rate of messages, and slow readers."""

import pytest

from realtime_bridge.protocol.session.session import Session
from realtime_bridge.protocol.session.session_commands import (
    Command,
    ConnectionLimits,
    Send,
    Subscribe,
    Unsubscribe,
    VerifyToken,
)
from realtime_bridge.protocol.session.timing import SessionTiming
from realtime_bridge.protocol.wire.close_codes import CloseCode
from tests.protocol.session.sessions import (
    AHEAD_OF_ALL,
    TIMING,
    admitted,
    answer,
    failure,
    frame,
    live,
    nothing,
    opened,
    refusal,
    requested,
    sent,
    subscribed,
)

CHANNELS = ConnectionLimits().channels


def slow_at_one_second() -> Session:
    """Return a session whose client became slow at 1 s, with 100 unsent bytes."""
    session = Session(ConnectionLimits(), SessionTiming(), draw=0.5, now=0.0)
    session.accept("42", "c_8f", expires=AHEAD_OF_ALL, now=0.0)
    session.mark_slow(1.0, unsent=100)
    return session


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

    def test_frames_that_are_no_messages_count_too(self) -> None:
        session = admitted()
        for _ in range(40):
            assert session.receive_frame(0.0) == []
        assert failure(session.receive_frame(0.0))[:2] == (4429, 429)
        assert session.receive_frame(0.0) == []

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
        for number in range(CHANNELS):
            text = frame("subscribe", channel=f"job.{number}")
            assert requested(session.receive(text, 0.0)) == [(f"job.{number}", None)]

    def test_all_channels_can_be_recovered_at_once_after_a_demotion(self) -> None:
        session = subscribed(*(f"job.{number}" for number in range(CHANNELS)))
        session.mark_slow(1.0, unsent=0)
        session.mark_progress(1.0, unsent=0)
        for number in range(CHANNELS):
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
        assert asked == CHANNELS + 40

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
        session = subscribed(*(f"job.{number}" for number in range(CHANNELS)))
        for number in range(CHANNELS):
            left = session.subscriptions[f"job.{number}"]
            text = frame("unsubscribe", channel=f"job.{number}")
            assert session.receive(text, 1.0) == [Unsubscribe(left)]

    @pytest.mark.parametrize("number", [1, 41, CHANNELS])
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
        names = [f"job.{number}" for number in range(CHANNELS)]
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
        for _ in range(40 + CHANNELS + 1):
            assert session.receive(frame("subscribe", channel="a"), 0.0)
            commands = session.receive(frame("unsubscribe", channel="a"), 0.0)
        assert failure(commands)[:2] == (4429, 429)

    def test_each_reset_allows_one_subscription_more(self) -> None:
        names = [f"job.{number}" for number in range(CHANNELS)]
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
