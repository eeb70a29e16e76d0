"""Last published positions, and rollbacks of a log that they show."""

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


def test_next_position_is_no_rollback() -> None:
    batch = [event(), event()]
    assert rolled_back_channels(after(5).of(batch), batch, [receipt(6), receipt(7)]) == {}


def test_position_given_twice_is_a_rollback() -> None:
    batch = [event()]
    for offset in (3, 5):
        assert rolled_back_channels(after(5).of(batch), batch, [receipt(offset)]) == {
            "job.7": EPOCH
        }


def test_duplicate_is_no_rollback() -> None:
    batch = [event()]
    assert rolled_back_channels(after(5).of(batch), batch, [receipt(3, duplicate=True)]) == {}


def test_new_epoch_is_no_rollback() -> None:
    batch = [event()]
    assert rolled_back_channels(after(5).of(batch), batch, [receipt(1, epoch=ANOTHER)]) == {}


def test_event_without_position_is_no_rollback() -> None:
    batch = [event()]
    assert rolled_back_channels(after(5).of(batch), batch, [Receipt(id="later")]) == {}


def test_duplicate_does_not_move_the_position_back() -> None:
    positions = after(5)
    positions.record([event()], [receipt(2, duplicate=True)])
    assert positions.of([event()]) == {"job.7": Position(EPOCH, 5)}


def test_channels_have_positions_of_their_own() -> None:
    batch = [event("job.8")]
    assert rolled_back_channels(after(5).of(batch), batch, [receipt(1)]) == {}


def test_oldest_channel_is_dropped_first() -> None:
    positions = PublishedPositions()
    channels = [f"job.{number}" for number in range(module.MAX_CHANNELS + 1)]
    positions.record([event(name) for name in channels], [receipt(1)] * len(channels))
    assert set(positions.of(map(event, channels))) == set(channels[1:])
