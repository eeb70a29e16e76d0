"""Fan-out of all events of one loop turn at once, to subscribers with sockets; compiled alone."""

import time
from collections.abc import Callable, Sequence

from realtime_bridge.compiled import compiled
from realtime_bridge.model.event import Event
from realtime_bridge.server.fanout.channel_fanout import ChannelFanout
from realtime_bridge.server.fanout.subscriber import FastSubscriber
from realtime_bridge.server.statistics import DELAY_BOUNDS, ServerStatistics

Unwritten = tuple[ChannelFanout, FastSubscriber, bytes | None, list[Event]]
"""Channel, subscriber, and the rest of its frames; None: a frame before these was cut short."""

_Counts = tuple[int, int, Sequence[tuple[int, int]], float]
_FanOut = Callable[
    [Sequence[Event], dict[str, ChannelFanout], float],
    tuple[list[Event], list[Unwritten], _Counts],
]

fan_out: _FanOut | None = compiled("fan_out", ChannelFanout, DELAY_BOUNDS)
"""Compiled fan-out. It moves the channels on whose subscribers are sockets alone, and releases the
interpreter's lock once for all sockets. None where it was not compiled: channels then follow one
after another, and the caches lose the interpreter's code and data at each of them."""


def fan_out_to_sockets(
    events: Sequence[Event], fanouts: dict[str, ChannelFanout], statistics: ServerStatistics
) -> tuple[Sequence[Event], Sequence[Unwritten]]:
    """Fan out and count the events that need no decision.

    Args:
        events: announced events.
        fanouts: open channels.
        statistics: counts of this run.

    Returns:
        The other events, in order, and what sockets did not take.

    """
    assert fan_out
    left, unwritten, counts = fan_out(events, fanouts, time.time())
    statistics.count_fan_out(*counts)
    return left, unwritten


def write_rest(
    fanout: ChannelFanout, subscriber: FastSubscriber, rest: bytes | None, events: list[Event]
) -> None:
    """Pass on what one subscriber's socket did not take."""
    if rest is not None:
        subscriber.write_rest(rest)
    else:
        # A frame of another channel was cut short: by now the subscriber may have a buffer.
        fanout.deliver_to(subscriber, events)
