"""Blocking work that a daemon thread repeats, whatever the work raises."""

import logging
import threading
import time
from collections.abc import Callable

from realtime_bridge.backend.outage_log import OutageLog
from realtime_bridge.backend.supervisor import SupervisorTiming

_TIMING = SupervisorTiming()
_logger = logging.getLogger("realtime_bridge.background")


def repeat_in_thread(
    name: str, work: Callable[[], object], *, timing: SupervisorTiming = _TIMING
) -> None:
    """Start a thread that repeats blocking work until the process ends.

    Args:
        name: the thread's name.
        work: the work, such as waiting for one message and handling it.
        timing: `restart` is the wait after a failure.

    """

    def run() -> None:
        outage = OutageLog(_logger, "background work failed", "background work works again")
        while True:
            try:
                work()
            except BaseException as error:
                outage.failed(error, work=name)
                time.sleep(timing.restart)
            else:
                outage.works(work=name)

    threading.Thread(target=run, name=name, daemon=True).start()
