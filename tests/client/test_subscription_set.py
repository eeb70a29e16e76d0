"""Channels of one client: order, positions and the limit of waiting items."""

from realtime_bridge import Event
from realtime_bridge.client import ChannelDenied, ChannelReset
from realtime_bridge.client.subscription_set import SubscriptionSet
from realtime_bridge.model.position import Position

EPOCH = "aaaaaaaa"
CHANNEL = "job.7"


def event(offset: int, channel: str = CHANNEL) -> Event:
    position = Position(EPOCH, offset, f"id-{offset}")
    return Event(channel=channel, event="x", data=offset, id=f"id-{offset}", position=position)


def receive_page(channels: SubscriptionSet, first: int, last: int) -> None:
    events = [event(offset) for offset in range(first, last + 1)]
    channels.page(CHANNEL, events, Position(EPOCH, last), more=False)


def taken(channels: SubscriptionSet) -> list[object]:
    items = iter(channels.take, None)
    return [item.data if isinstance(item, Event) else item for item in items]


def new_set(**options: int) -> SubscriptionSet:
    return SubscriptionSet({CHANNEL: Position(EPOCH, 0)}, "c_1", **options)


def test_overlapping_pages_are_taken_in_order_and_once() -> None:
    channels = new_set()
    receive_page(channels, 1, 5)
    receive_page(channels, 4, 9)
    assert taken(channels) == [*range(1, 10)]


def test_waiting_items_do_not_move_the_handled_position() -> None:
    channels = new_set()
    receive_page(channels, 1, 5)
    assert channels.positions_of([CHANNEL]) == {CHANNEL: Position(EPOCH, 5)}
    assert channels.handled_positions == {CHANNEL: Position(EPOCH, 0)}
    assert taken(channels) == [1, 2, 3, 4, 5]
    assert channels.handled_positions == {CHANNEL: Position(EPOCH, 5)}


def test_too_many_waiting_items_become_a_reset() -> None:
    channels = new_set(max_waiting=3)
    receive_page(channels, 1, 4)
    receive_page(channels, 5, 5)
    reset = ChannelReset(CHANNEL, "truncated", Position(EPOCH, 4))
    assert taken(channels) == [reset, 5]


def test_overflow_of_one_channel_leaves_the_others() -> None:
    start = Position(EPOCH, 0)
    channels = SubscriptionSet({CHANNEL: start, "job.8": start}, "c_1", max_waiting=1)
    channels.event(event(1, "job.8"))
    receive_page(channels, 1, 2)
    assert taken(channels) == [1, ChannelReset(CHANNEL, "truncated", Position(EPOCH, 2))]


async def test_denied_channel_gives_an_error_and_no_reset() -> None:
    channels = SubscriptionSet({CHANNEL: None, "job.8": None}, "c_1")
    channels.deny("job.8", "no access")
    assert taken(channels) == [ChannelDenied("job.8", "no access")]
    assert channels.errors == {"job.8": "no access"}
    assert channels.names == [CHANNEL]
    assert not channels.all_denied.is_set()


async def test_last_denied_channel_ends_the_client() -> None:
    channels = new_set()
    channels.deny(CHANNEL, "no access")
    assert taken(channels) == []
    assert channels.all_denied.is_set()
