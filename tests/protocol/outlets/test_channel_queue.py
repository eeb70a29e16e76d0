"""Order of an outlet's channels, without a clock."""

from realtime_bridge.model.position import Position
from realtime_bridge.protocol.outlets.channel_queue import MAX_POSITIONS, ChannelQueue


def at(offset: int, epoch: str = "00000000") -> Position:
    return Position(epoch, offset)


def test_channel_with_new_events_is_taken_once() -> None:
    queue = ChannelQueue({"a": at(1), "b": at(2)})
    queue.update({"a": at(2), "b": at(2), "empty": at(0)})
    assert queue.take(0) == "a"
    queue.update({"a": at(3)})
    assert queue.take(0) is None
    assert len(queue) == 1


def test_released_channel_is_queued_while_it_has_events() -> None:
    queue = ChannelQueue({})
    queue.update({"a": at(2)})
    assert queue.take(0) == "a"
    assert (queue.position("a"), queue.is_known("a")) == (at(0), False)
    queue.move("a", at(1))
    queue.release("a")
    assert queue.take(0) == "a"
    assert (queue.position("a"), queue.is_known("a")) == (at(1), True)
    queue.move("a", at(2))
    queue.release("a")
    assert queue.take(0) is None
    assert len(queue) == 0


def test_failed_channel_waits_and_holds_up_no_other() -> None:
    queue = ChannelQueue({})
    queue.update({"a": at(1), "b": at(1)})
    assert queue.take(0) == "a"
    assert queue.fail("a") == 1
    queue.retry_at("a", 5)
    queue.update({"a": at(2)})
    assert queue.take(0) == "b"
    assert queue.take(4.9) is None
    assert queue.next_retry() == 5
    assert queue.take(5) == "a"
    assert queue.fail("a") == 2
    queue.move("a", at(1))
    assert queue.fail("a") == 1


def test_other_epoch_is_queued() -> None:
    queue = ChannelQueue({"a": at(2)})
    queue.update({"a": at(2, "00000001")})
    assert queue.take(0) == "a"


def test_channel_without_events_is_dropped_if_it_was_delivered() -> None:
    queue = ChannelQueue({"a": at(1), "b": at(1), "c": at(2)})
    queue.update({"a": at(2), "b": at(2), "c": at(2)})
    assert queue.take(0) == "a"
    queue.keep([])
    queue.move("a", at(2))
    queue.release("a")
    assert queue.take(0) == "b"  # the log may have removed its event: a read finds that out
    assert queue.take(0) is None
    queue.update({"c": at(3)})
    assert queue.take(0) == "c"
    assert queue.position("c") == at(2)


def test_positions_in_memory_are_bounded() -> None:
    queue = ChannelQueue({str(number): at(1) for number in range(MAX_POSITIONS)})
    queue.move("0", at(2))
    queue.move("new", at(1))
    queue.keep([])
    assert queue.is_known("0")
    assert not queue.is_known("1")


def test_more_channels_than_positions_are_not_delivered_again() -> None:
    names = [str(number) for number in range(MAX_POSITIONS + 2)]
    queue = ChannelQueue({})
    queue.update(dict.fromkeys(names, at(1)))
    for _ in names:
        channel = queue.take(0)
        assert channel
        queue.move(channel, at(1))
        queue.release(channel)
    queue.keep(names)
    queue.update(dict.fromkeys(names, at(1)))
    assert queue.take(0) is None
