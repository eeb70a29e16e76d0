"""Wrong clock of a process whose PYTHONPATH has this folder: off by CLOCK_OFFSET, in s."""

import datetime as dt
import os
import time

OFFSET = float(os.environ["CLOCK_OFFSET"])
true_time, true_time_ns = time.time, time.time_ns


class WrongDatetime(dt.datetime):
    """Date and time by the wrong clock; PyJWT reads this one."""

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> "WrongDatetime":
        return cls.fromtimestamp(time.time(), tz)


time.time = lambda: true_time() + OFFSET
time.time_ns = lambda: true_time_ns() + int(OFFSET * 1e9)
dt.datetime = WrongDatetime  # type: ignore[misc] # before any other module imports it
