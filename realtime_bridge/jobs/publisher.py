"""Publisher of a job's reports, as jobs need it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from realtime_bridge.model.receipt import Receipt


class Publisher(Protocol):
    """Publisher of single events, such as `Broadcaster`."""

    async def publish(
        self,
        channel: str,
        event: str,
        data: Any = None,
        *,
        id: str | None = None,  # noqa: A002 -- the field's name on the wire
        key: str | None = None,
    ) -> Receipt:
        """Publish one event.

        Raises:
            RealtimeError: the event was not published.

        """


Report = Callable[[Publisher], Coroutine[Any, Any, None]]
"""Publishes the updates of one job until none is pending."""

Submit = Callable[[Report], asyncio.Task[None] | None]
"""Starts a report; returns its task where the caller can await it."""
