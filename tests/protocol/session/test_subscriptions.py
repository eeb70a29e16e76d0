"""Tests of the subscriptions of a session, and of any course of them."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from realtime_bridge.model.position import Position
from realtime_bridge.protocol.session.session import Session
from realtime_bridge.protocol.session.session_commands import (
    Close,
    Command,
    ConnectionLimits,
    Subscribe,
    Unsubscribe,
    VerifyToken,
)
from realtime_bridge.protocol.session.subscription import ChannelSubscription
from realtime_bridge.protocol.wire.close_codes import CloseCode
from tests.protocol.session.sessions import (
    EPOCH,
    TIMING,
    admitted,
    answer,
    failure,
    frame,
    live,
    refusal,
    requested,
    subscribed,
)


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

    def test_bad_position_is_denied_and_connection_continues(self) -> None:
        session = admitted()
        bad = frame("subscribe", channel="job.7", position={"epoch": "x", "offset": 1})
        code, message = refusal(session.receive(bad, 0.0))
        assert (code, "position" in message) == (400, True)
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
