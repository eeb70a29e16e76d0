"""Requests that waited too long for this process."""

import asyncio
import time

from realtime_bridge.server.connections.fast.response_order import ResponseOrder
from realtime_bridge.server.overload import Overload, seconds_waited


def is_late(
    route: str,
    transport: asyncio.BaseTransport,
    order: ResponseOrder,
    overload: Overload,
    now: float,
) -> bool:
    """Record how long a request waited, and return whether it is refused.

    Args:
        route: the route, such as `poll`.
        transport: the transport of its connection.
        order: the requests of its connection.
        overload: the record of the server.
        now: the moment, in seconds of the loop's clock.

    """
    is_first = order.is_first
    if overload.is_calm(now, is_first=is_first):
        return False  # without the calls of the kernel
    waited = seconds_waited(transport)
    if not is_first and order.delayed(waited, time.monotonic()):
        return False
    return overload.refuses(route, waited, now, is_first=is_first)
