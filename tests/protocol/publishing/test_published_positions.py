"""A publisher remembers how far each channel got, and notices when a place is given out twice."""

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.protocol.publishing import published_positions as module
from realtime_bridge.protocol.publishing.published_positions import (
    PublishedPositions,
    rolled_back_channels,
)

EPOCH, ANOTHER = "aaaaaaaa", "bbbbbbbb"


def event(channel: str = "job.7") -> Event:
    return Event(channel=channel, event="job.step", data=None)


def receipt(offset: int, *, epoch: str = EPOCH, duplicate: bool = False) -> Receipt:
    return Receipt(id=f"e{offset}", position=Position(epoch, offset), duplicate=duplicate)


def after(*offsets: int) -> PublishedPositions:
    positions = PublishedPositions()
    positions.record([event()] * len(offsets), [receipt(offset) for offset in offsets])
    return positions


def test_the_next_place_is_no_regression() -> None:
    batch = [event(), event()]
    assert rolled_back_channels(after(5).of(batch), batch, [receipt(6), receipt(7)]) == {}


def test_a_place_that_was_given_out_before_is_one() -> None:
    batch = [event()]
    for offset in (3, 5):
        assert rolled_back_channels(after(5).of(batch), batch, [receipt(offset)]) == {
            "job.7": EPOCH
        }


def test_a_duplicate_is_none() -> None:
    batch = [event()]
    assert rolled_back_channels(after(5).of(batch), batch, [receipt(3, duplicate=True)]) == {}


def test_a_new_epoch_counts_from_one_and_is_none() -> None:
    batch = [event()]
    assert rolled_back_channels(after(5).of(batch), batch, [receipt(1, epoch=ANOTHER)]) == {}


def test_an_event_that_is_numbered_later_proves_nothing() -> None:
    batch = [event()]
    assert rolled_back_channels(after(5).of(batch), batch, [Receipt(id="later")]) == {}


def test_a_duplicate_does_not_take_the_top_back() -> None:
    positions = after(5)
    positions.record([event()], [receipt(2, duplicate=True)])
    assert positions.of([event()]) == {"job.7": Position(EPOCH, 5)}


def test_channels_do_not_know_of_each_other() -> None:
    batch = [event("job.8")]
    assert rolled_back_channels(after(5).of(batch), batch, [receipt(1)]) == {}


def test_the_channel_that_was_noted_first_is_forgotten_first() -> None:
    positions = PublishedPositions()
    channels = [f"job.{number}" for number in range(module.MAX_CHANNELS + 1)]
    positions.record([event(name) for name in channels], [receipt(1)] * len(channels))
    assert set(positions.of(map(event, channels))) == set(channels[1:])
