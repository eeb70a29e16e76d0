"""Log lines about rejected clients: an attack has one line, not one for each connection."""

import logging
import time
from collections.abc import Callable

_logger = logging.getLogger("realtime_bridge.server")

QUIET_SECONDS = 60.0
"""The seconds without a rejection after which the next one is logged again."""


class RejectionLog:
    """Reporter of rejections: the first of each reason is logged, and its successors are counted.

    Args:
        clock: monotonic clock, in seconds.

    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def report(self, reason: str, hint: str) -> None:
        """Count a rejection; log it if it is the first of its reason for a minute.

        Args:
            reason: what the client did, in fixed words: each is one line.
            hint: what an operator can do.

        """
        now = self._clock()
        last, self._last[reason] = self._last.get(reason), now
        if last is not None and now - last < QUIET_SECONDS:
            self._counts[reason] += 1
            return
        earlier = self._counts.get(reason, 0)
        self._counts[reason] = 1
        _logger.warning(
            "clients rejected: reason=%r earlier=%d hint=%r; further ones are not logged",
            reason,
            earlier,
            hint,
        )
