"""Rule for events whose names no class declares."""

import logging
from collections.abc import Iterable

from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model.channel import is_internal
from realtime_bridge.model.declaration import is_declared
from realtime_bridge.model.event import Event

MAX_NAMES = 1_000
"""Names that are logged, at most: an application may make names from data."""

_logger = logging.getLogger("realtime_bridge.publishing")


class UndeclaredEvents:
    """Rule for events that no class declares: a log line for each name, or an error.

    Args:
        refuses: whether such an event is an error.

    """

    def __init__(self, *, refuses: bool) -> None:
        self._refuses = refuses
        self._logged: set[str] = set()

    @classmethod
    def from_setting(cls, value: str) -> "UndeclaredEvents | None":
        """Return the rule of `REALTIME_UNDECLARED_EVENTS`; None where all events are allowed."""
        return None if value == "allow" else cls(refuses=value == "refuse")

    def check(self, events: Iterable[Event]) -> None:
        """Check the names of events that this process publishes.

        Raises:
            InvalidEventError: no class declares a name, and such events are refused.

        """
        for event in events:
            # Servers and workers announce their own changes on internal channels.
            if is_declared(event.event) or is_internal(event.channel):
                continue
            if self._refuses:
                raise InvalidEventError(
                    f"{event.event!r} on {event.channel} is not declared: declare it with "
                    "realtime_bridge.events.define in a module that this process imports, or set "
                    "REALTIME_UNDECLARED_EVENTS=warn"
                )
            if event.event not in self._logged and len(self._logged) < MAX_NAMES:
                self._logged.add(event.event)
                _logger.warning("undeclared event event=%r channel=%s", event.event, event.channel)
