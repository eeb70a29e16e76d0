"""Tests of the lock that rejects a second worker with a log in memory."""

import asyncio
import os
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from realtime_bridge.server.lifecycle.worker_lock import has_sibling_workers, only_worker
from tests.server.harness import SECRET

REJECTED = "events would be lost: run one worker, or set REALTIME_LOG"
STARTED = "Application startup complete"
SLOW_START = 60.0
"""Longest start of gunicorn in another interpreter on a busy machine, in s."""

APPLICATION = "from realtime_bridge.server import Bridge\nbridge = Bridge.from_env()\n"
PREFORK = """
import asyncio, os
from realtime_bridge.errors import ConfigurationError
from realtime_bridge.server import Bridge

async def work(started, done):
    try:
        async with Bridge.from_env():
            os.write(started, b"y")
            os.read(done, 1)
    except ConfigurationError as error:
        print(error, flush=True)
        os.write(started, b"n")

started, done = os.pipe(), os.pipe()
children = []
for _ in range(2):
    children.append(os.fork())
    if not children[-1]:
        asyncio.run(work(started[1], done[0]))
        os._exit(0)
    os.read(started[0], 1)
os.write(done[1], b"xx")
for child in children:
    os.waitpid(child, 0)
"""

Run = Callable[..., Coroutine[Any, Any, Process]]


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Run]:
    """Return a function that runs Python with arguments beside the application `app:bridge`."""
    (tmp_path / "app.py").write_text(APPLICATION)
    (tmp_path / "prefork.py").write_text(PREFORK)
    processes: list[Process] = []

    async def start(*arguments: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-W", "ignore"),
            *arguments,
            cwd=tmp_path,
            env=os.environ | {"REALTIME_SECRET": SECRET},
            stdout=PIPE,
            stderr=STDOUT,
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()


async def output(process: Process, until: str | None = None) -> str:
    """Return the output of a process, up to its end or up to a text."""
    assert process.stdout
    text = ""
    async with asyncio.timeout(SLOW_START):
        while (until is None or until not in text) and (line := await process.stdout.readline()):
            text += line.decode()
    assert until is None or until in text, text
    return text


async def test_second_gunicorn_worker_is_rejected(run: Run) -> None:
    worker = ("-w", "2", "-k", "uvicorn.workers.UvicornWorker")
    process = await run("-m", "gunicorn", *worker, "-b", "127.0.0.1:0", "app:bridge")
    assert REJECTED in await output(process)
    assert await process.wait() == 3


async def test_single_gunicorn_worker_starts(run: Run) -> None:
    worker = ("-w", "1", "-k", "uvicorn.workers.UvicornWorker")
    process = await run("-m", "gunicorn", *worker, "-b", "127.0.0.1:0", "app:bridge")
    await output(process, STARTED)


async def test_second_uvicorn_worker_is_rejected(run: Run) -> None:
    process = await run("-m", "uvicorn", "app:bridge", "--workers", "2", "--port", "0")
    await output(process, REJECTED)


async def test_second_child_of_a_plain_fork_is_rejected(run: Run) -> None:
    process = await run("prefork.py")
    assert (await output(process)).count(REJECTED) == 1
    assert await process.wait() == 0


async def test_two_servers_of_one_parent_start(run: Run) -> None:
    command = ("-m", "uvicorn", "app:bridge", "--port", "0")
    first, second = [await run(*command) for _ in range(2)]
    await asyncio.gather(output(first, STARTED), output(second, STARTED))


def locked(prefix: str) -> AbstractContextManager[None]:
    return only_worker(prefix, is_worker=lambda: True)


class TestLock:
    @pytest.fixture(autouse=True)
    def _as_a_worker(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def test_bridges_of_one_process_share_the_lock_and_release_it(self, tmp_path: Path) -> None:
        for _ in range(2):
            with locked("realtime"), locked("realtime"):
                assert len(list(tmp_path.iterdir())) == 1
            assert list(tmp_path.iterdir()) == []

    def test_two_applications_have_separate_locks(self) -> None:
        with locked("one"), locked("other"):
            pass

    def test_lock_file_is_private_and_follows_no_link(self, tmp_path: Path) -> None:
        with locked("realtime"):
            (lock,) = tmp_path.iterdir()
            assert lock.stat().st_mode & 0o077 == 0
        other_file = tmp_path / "precious"
        other_file.write_text("data")
        lock.symlink_to(other_file)
        with pytest.raises(OSError, match="symbolic links"), locked("realtime"):
            pass
        assert other_file.read_text() == "data"


def test_process_without_proc_is_not_taken_for_a_worker() -> None:
    assert not has_sibling_workers(command_line=lambda _: None)
