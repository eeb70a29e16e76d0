"""Job of a process that is stopped by a signal, and continued."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from realtime_bridge.jobs.snapshot import fold_job_group
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge_backends.redis import RedisBackend
from tests.cli.processes import environment
from tests.services.redis import RedisServer

CHANNEL, TIMEOUT = "user-42", 60.0
LEASE, STOP_SECONDS = (30, 60.0) if "FULL_LOAD" in os.environ else (5, 0.0)


async def until(log: RedisBackend, holds: Callable[[str], bool]) -> None:
    """Wait until the job's state is the one that is expected."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            snapshot = fold_job_group((await log.latest(CHANNEL, key="job-a1")).events)
            if snapshot and holds(snapshot.state):
                return
            await asyncio.sleep(0.05)


async def names(log: RedisBackend) -> list[str]:
    top = (await log.positions([CHANNEL]))[CHANNEL]
    page = await log.read(CHANNEL, Position(top.epoch, 0))
    assert isinstance(page, Page)
    return [event.event for event in page.events]


def test_job_of_a_stopped_process_is_lost_once_and_runs_again(tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--save", "") as server:
        command = [sys.executable, "-m", "tests.jobs.frozen_worker", server.url, str(LEASE)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment()) as worker:
            try:
                asyncio.run(stop_and_continue(worker, server.url))
            finally:
                worker.kill()


async def stop_and_continue(worker: "subprocess.Popen[bytes]", url: str) -> None:
    """Stop the worker until its job is lost, continue it, and let it end its job."""
    async with RedisBackend(url) as log:
        await until(log, lambda state: state == "running")
        worker.send_signal(signal.SIGSTOP)
        stopped_until = asyncio.get_running_loop().time() + STOP_SECONDS
        await until(log, lambda state: state == "lost")
        await asyncio.sleep(stopped_until - asyncio.get_running_loop().time())
        worker.send_signal(signal.SIGCONT)
        await until(log, lambda state: state == "running")
        assert worker.stdin
        worker.stdin.close()
        await until(log, lambda state: state == "completed")
        assert (await names(log)).count("job.lost") == 1
