"""Fan-out of one turn at once: the same deliveries as from one channel after another."""

import socket
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.session.subscription import ChannelSubscription
from realtime_bridge.protocol.wire.websocket_frames import encode_frame
from realtime_bridge.server.fanout import flush
from realtime_bridge.server.fanout.channel_fanout import ChannelFanout
from realtime_bridge.server.fanout.sending import WriteTarget
from realtime_bridge.server.fanout.subscriber import FastSubscriber
from realtime_bridge.server.statistics import ServerStatistics

EPOCH = "k3v9q2wz"
CHANNELS = ("job.1", "job.2", "job.3")


class Client(FastSubscriber):
    """Subscriber with a real socket, whose transport is a list of bytes."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        self.near.setblocking(False)
        self.far.setblocking(False)
        self.waiting: list[bytes] = []
        self.received = b""
        self.fanouts: dict[str, tuple[ChannelFanout, ChannelSubscription]] = {}
        self.delivered = 0
        self.write_function: Callable[[bytes], int] | None = None

    def write_by_function(self, data: bytes) -> int:
        self.received += data
        return len(data)

    def close(self) -> None:
        self.near.close()
        self.far.close()

    def write_target(self, subscription: ChannelSubscription) -> WriteTarget | None:
        return None if self.waiting else self.write_function or self.near.fileno()

    def write_rest(self, rest: bytes) -> None:
        self.waiting.append(rest)
        self.update_routes()

    def update_routes(self) -> None:
        for fanout, subscription in self.fanouts.values():
            fanout.update_route(self, subscription)

    def deliver(self, subscription: ChannelSubscription, messages: Sequence[bytes]) -> bool:
        self.delivered += len(messages)
        self.waiting.append(b"".join(map(encode_frame, messages)))
        return True

    def subscribed(self, subscription: ChannelSubscription, page: Page, *, recovered: bool) -> None:
        pass

    def reset(self, channel: str, reset: Reset) -> None:
        raise AssertionError("unreachable")

    def read(self) -> None:
        """Read all from the socket, then what waits for it."""
        while True:
            try:
                self.received += self.far.recv(1 << 20)
            except BlockingIOError:
                break
        self.received += b"".join(self.waiting)
        self.waiting.clear()
        self.update_routes()

    def offsets(self) -> dict[str, list[int]]:
        """Return the offsets of all received events, by channel."""
        self.read()
        rest, offsets = self.received, defaultdict(list)
        while rest:
            size, head = rest[1], 2
            if size == 126:
                size, head = int.from_bytes(rest[2:4]), 4
            elif size == 127:
                size, head = int.from_bytes(rest[2:10]), 10
            fields = orjson.loads(rest[head : head + size])
            offsets[fields["channel"]].append(fields["offset"])
            rest = rest[head + size :]
        return dict(offsets)


class Turns:
    """Channels with a log each, and turns of announcements; a gap is filled from the log."""

    def __init__(self, use_core: bool) -> None:  # noqa: FBT001
        self.use_core = use_core
        self.statistics = ServerStatistics()
        self.logs: dict[str, list[Event]] = {channel: [] for channel in CHANNELS}
        self.fanouts = {
            channel: ChannelFanout(channel, Position(EPOCH, 0), self.statistics)
            for channel in CHANNELS
        }

    def subscribe(self, client: Client, channel: str) -> None:
        fanout, subscription = self.fanouts[channel], ChannelSubscription(channel)
        fanout.start_reading(client, subscription)
        client.fanouts[channel] = fanout, subscription
        fanout.go_live(client, subscription, Page(events=(), top=fanout.position), recovered=False)

    def append(self, channel: str, data: object = None, name: str = "job.step") -> Event:
        log = self.logs[channel]
        event = Event(channel=channel, event=name, data=data, id=f"{channel}-{len(log)}")
        log.append(event.with_position(Position(EPOCH, len(log) + 1, event.id), 1_000))
        return log[-1]

    def announce(self, events: Sequence[Event]) -> None:
        if self.use_core:
            events, unwritten = flush.fan_out_to_sockets(events, self.fanouts, self.statistics)
            for item in unwritten:
                flush.write_rest(*item)
        by_channel: dict[str, list[Event]] = {}
        for event in events:
            by_channel.setdefault(event.channel, []).append(event)
        for channel, its_events in by_channel.items():
            fanout = self.fanouts[channel]
            if not fanout.accept(its_events):
                fanout.fan_out(self.logs[channel][fanout.position.offset :])


@contextmanager
def clients(count: int) -> Iterator[list[Client]]:
    all_clients = [Client() for _ in range(count)]
    try:
        yield all_clients
    finally:
        for client in all_clients:
            client.close()


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("turn"),
            st.lists(
                st.tuples(
                    st.sampled_from(CHANNELS),
                    st.sampled_from([1, 100, 3_000, 70_000]),
                    st.sampled_from(["job.step", "job.schön"]),
                    st.sampled_from(["once", "once", "once", "twice", "lost"]),
                ),
                min_size=1,
                max_size=8,
            ),
        ),
        st.tuples(st.just("read"), st.integers(0, 2)),
        st.tuples(st.just("leave"), st.integers(0, 2)),
    ),
    max_size=10,
)


def play(turns: Turns, crowd: list[Client], steps: list[tuple[str, object]]) -> None:
    for index, client in enumerate(crowd):
        for channel in CHANNELS[index:]:
            turns.subscribe(client, channel)
    for kind, detail in steps:
        if kind == "read":
            crowd[detail].read()  # type: ignore[call-overload]
        elif kind == "leave":
            client = crowd[detail]  # type: ignore[call-overload]
            for fanout, _ in client.fanouts.values():
                fanout.remove(client)
            client.fanouts.clear()
        else:
            events = []
            for channel, size, name, fate in detail:  # type: ignore[attr-defined]
                event = turns.append(channel, "x" * size, name)
                events += {"once": [event], "twice": [event, event], "lost": []}[fate]
            turns.announce(events)
    turns.announce([turns.append(channel) for channel in CHANNELS])


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_each_event_arrives_once_and_in_order(steps: list[tuple[str, object]]) -> None:
    results = []
    for use_core in (True, False):
        with clients(3) as crowd:
            turns = Turns(use_core)
            play(turns, crowd, steps)
            assert {fanout.position.offset for fanout in turns.fanouts.values()} == {
                len(log) for log in turns.logs.values()
            }
            received = [client.offsets() for client in crowd]
            results.append(received)
            for client, offsets in zip(crowd, received, strict=True):
                for channel in client.fanouts:
                    count = len(turns.logs[channel])
                    assert offsets[channel] == list(range(1, count + 1))
    assert results[0] == results[1]


@pytest.fixture
def turns() -> Turns:
    return Turns(use_core=True)


def test_events_of_a_turn_are_counted_once(turns: Turns) -> None:
    with clients(2) as (first, second):
        turns.subscribe(first, "job.1")
        turns.subscribe(second, "job.1")
        turns.announce([turns.append("job.1"), turns.append("job.2"), turns.append("job.1")])
    assert turns.statistics.announced == 3
    assert turns.statistics.deliveries == 4
    assert sum(turns.statistics.delays.counts) == 3
    assert turns.statistics.delays.sum > 0


def test_delays_are_counted_as_by_python(turns: Turns) -> None:
    now = time.time()
    events = [
        turns.append("job.1").with_position(Position(EPOCH, offset), int(1_000 * (now - delay)))
        for offset, delay in enumerate([0, 0.002, 0.2, 0.2, 30, -5], start=1)
    ]
    in_python = ServerStatistics()
    in_python.count_events(events, now, subscribers=0)
    assert flush.fan_out
    _, _, counts = flush.fan_out(events, turns.fanouts, now)
    turns.statistics.count_fan_out(*counts)
    assert turns.statistics.announced == in_python.announced == 6
    assert turns.statistics.delays.counts == in_python.delays.counts
    assert turns.statistics.delays.sum == pytest.approx(in_python.delays.sum)


def test_frames_after_a_short_write_pass_through_deliver(turns: Turns) -> None:
    with clients(1) as (client,):
        turns.subscribe(client, "job.1")
        turns.subscribe(client, "job.2")
        turns.announce([turns.append("job.1", "x" * 900_000), turns.append("job.2")])
        assert client.delivered == 1
        assert client.offsets() == {"job.1": [1], "job.2": [1]}
        turns.announce([turns.append("job.2")])
        assert client.delivered == 1
        assert client.offsets() == {"job.1": [1], "job.2": [1, 2]}


def test_closed_socket_leaves_its_frames_to_the_transport(turns: Turns) -> None:
    with clients(2) as (gone, other):
        turns.subscribe(gone, "job.1")
        turns.subscribe(other, "job.1")
        gone.far.close()
        turns.announce([turns.append("job.1")])
        assert len(gone.waiting) == 1
        assert other.offsets() == {"job.1": [1]}


def test_channel_with_a_function_as_target_is_left_to_python(turns: Turns) -> None:
    assert flush.fan_out
    with clients(2) as (encrypted, plain):
        encrypted.write_function = encrypted.write_by_function
        turns.subscribe(plain, "job.1")
        turns.subscribe(encrypted, "job.1")
        turns.subscribe(plain, "job.2")
        events = [turns.append("job.1"), turns.append("job.2")]
        left, unwritten, _ = flush.fan_out(events, turns.fanouts, 0.0)
        assert left == events[:1]
        assert unwritten == []
        turns.announce(left)
        assert encrypted.offsets() == {"job.1": [1]}
        assert plain.offsets() == {"job.1": [1], "job.2": [1]}


@pytest.mark.parametrize("attribute", ["recovering", "speaks_other"])
def test_channel_with_other_work_is_left_to_python(turns: Turns, attribute: str) -> None:
    assert flush.fan_out
    setattr(turns.fanouts["job.1"], attribute, True)
    event = turns.append("job.1")
    assert flush.fan_out([event], turns.fanouts, 0.0)[0] == [event]
    assert turns.fanouts["job.1"].position.offset == 0


def test_unknown_channel_and_other_epoch_are_left_to_python(turns: Turns) -> None:
    assert flush.fan_out
    first = turns.append("job.1")
    unknown = Event(channel="job.9", event="job.step", data=1)
    other = first.with_position(Position("anotherx", 1), 1)
    assert flush.fan_out([other, unknown], turns.fanouts, 0.0)[0] == [other, unknown]


def test_position_without_an_id_gets_that_of_its_event(turns: Turns) -> None:
    event = turns.append("job.1").with_position(Position(EPOCH, 1), 1)
    turns.announce([event])
    assert turns.fanouts["job.1"].position.id == event.id


def test_many_turns_leave_no_memory(turns: Turns) -> None:
    with clients(1) as (client,), closing(socket.socket()):
        for channel in CHANNELS:
            turns.subscribe(client, channel)

        def turn() -> None:
            event = turns.append("job.1")
            turns.logs["job.1"].clear()
            position = Position(EPOCH, turns.fanouts["job.1"].position.offset + 1)
            turns.announce([event.with_position(position, 1)])
            client.far.recv(1 << 16)

        turn()
        before = sys.getallocatedblocks()
        for _ in range(2_000):
            turn()
        assert sys.getallocatedblocks() - before < 500
