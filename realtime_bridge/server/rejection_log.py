"""Log lines about rejected clients: an attack has one line, not one for each connection."""

import logging
from collections.abc import Callable

from realtime_bridge.protocol.wire.close_codes import CloseCode
from realtime_bridge.server.throttle import Throttle, monotonic

_logger = logging.getLogger("realtime_bridge.server")

HINT = "limit the connections of one address in your proxy or firewall"


_REPORTED = {CloseCode.RATE_LIMIT, CloseCode.NO_CONNECT}
"""Codes with which a server closes connections of an attack."""


class RejectionLog:
    """Reporter of rejections: the first of each reason is logged, and its successors are counted.

    Args:
        clock: monotonic clock, in seconds.

    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._throttle = Throttle(clock)

    def report(self, reason: str, hint: str = HINT) -> None:
        """Count a rejection; log it if a minute was quiet before.

        Args:
            reason: what the client did, in fixed words: each is one line.
            hint: what an operator can do.

        """
        earlier = self._throttle.count(reason)
        if earlier is not None:
            _logger.warning(
                "clients rejected: reason=%r earlier=%d hint=%r; further ones are not logged",
                reason,
                earlier,
                hint,
            )

    def report_close(self, code: int, reason: str) -> None:
        """Count the close of a connection, if its code is one of an attack."""
        if code in _REPORTED:
            self.report(reason)
