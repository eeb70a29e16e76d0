"""Watch of the process's file descriptors: without any left, it can accept no connection."""

import asyncio
import logging
import os

from realtime_bridge.backend.outage_log import OutageLog

_logger = logging.getLogger("realtime_bridge.server")

_HINT = "raise the limit of open files, for example by `ulimit -n` or LimitNOFILE of systemd"


class FileWatch:
    """Watch that opens a file now and then, and reports when the process may open no more.

    Event loops accept and close connections in that state, or pause, often without a log line.

    Args:
        interval: the seconds between two checks.

    """

    def __init__(self, *, interval: float) -> None:
        self._interval = interval
        self._outage = OutageLog(
            _logger, "no file can be opened, connections are rejected", "files can be opened again"
        )

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            try:
                os.close(os.open(os.devnull, os.O_RDONLY))
            except OSError as error:
                self._outage.failed(f"{error}: {_HINT}")
            else:
                self._outage.works()
            await asyncio.sleep(self._interval)
