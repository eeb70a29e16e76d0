"""Blocking work on a thread: it is repeated whatever it raises."""

import queue
import threading

import pytest

from realtime_bridge.backend.repeating_thread import repeat_in_thread
from realtime_bridge.backend.supervisor import SupervisorTiming

TIMEOUT = 10.0


def test_work_that_raises_is_repeated_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    tasks: queue.Queue[BaseException | None] = queue.Queue()
    done = threading.Semaphore(0)

    def work() -> None:
        try:
            if error := tasks.get():
                raise error
        finally:
            done.release()

    for task in (ValueError("odd"), SystemExit(1), ValueError("odd"), None):
        tasks.put(task)
    repeat_in_thread("test-repeat", work, timing=SupervisorTiming(restart=0.001))
    for _ in range(4):
        assert done.acquire(timeout=TIMEOUT)
    tasks.put(None)  # when the thread takes this task, it has logged the end before
    assert done.acquire(timeout=TIMEOUT)
    lines = [line for line in caplog.messages if "work=test-repeat" in line]
    assert len(lines) == 3  # one for each class of error, and one for the end
    assert lines[-1].startswith("background work works again")
