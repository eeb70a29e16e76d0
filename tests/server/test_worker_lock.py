"""A log in memory has one server process: a second worker is refused, a second server is not."""

import asyncio
import os
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from realtime_bridge.errors import ConfigurationError
from realtime_bridge.server.lifecycle import worker_lock
from realtime_bridge.server.lifecycle.worker_lock import only_worker
from tests.server.harness import SECRET

REFUSED = "each would hear only its own events: run one worker, or set REALTIME_LOG"
STARTED = "Application startup complete"
SLOW_START = 60.0
"""Another interpreter, gunicorn and all, on a busy machine."""

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
    """Start Python with these arguments, beside the application `app:bridge`."""
    (tmp_path / "app.py").write_text(APPLICATION)
    (tmp_path / "prefork.py").write_text(PREFORK)
    started: list[Process] = []

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
        started.append(process)
        return process

    yield start
    for process in started:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()


async def output(process: Process, until: str | None = None) -> str:
    """Read what it says, to the end or until this."""
    assert process.stdout
    said = ""
    async with asyncio.timeout(SLOW_START):
        while (until is None or until not in said) and (line := await process.stdout.readline()):
            said += line.decode()
    assert until is None or until in said, said
    return said


async def test_a_second_gunicorn_worker_is_refused(run: Run) -> None:
    worker = ("-w", "2", "-k", "uvicorn.workers.UvicornWorker")
    process = await run("-m", "gunicorn", *worker, "-b", "127.0.0.1:0", "app:bridge")
    assert REFUSED in await output(process)
    assert await process.wait() == 3


async def test_one_gunicorn_worker_is_fine(run: Run) -> None:
    worker = ("-w", "1", "-k", "uvicorn.workers.UvicornWorker")
    process = await run("-m", "gunicorn", *worker, "-b", "127.0.0.1:0", "app:bridge")
    await output(process, STARTED)


async def test_a_second_uvicorn_worker_is_refused(run: Run) -> None:
    process = await run("-m", "uvicorn", "app:bridge", "--workers", "2", "--port", "0")
    await output(process, REFUSED)


async def test_a_second_child_of_a_plain_fork_is_refused(run: Run) -> None:
    process = await run("prefork.py")
    assert (await output(process)).count(REFUSED) == 1
    assert await process.wait() == 0


async def test_two_servers_of_one_parent_are_fine(run: Run) -> None:
    command = ("-m", "uvicorn", "app:bridge", "--port", "0")
    first, second = [await run(*command) for _ in range(2)]
    await asyncio.gather(output(first, STARTED), output(second, STARTED))


class TestTheLock:
    @pytest.fixture(autouse=True)
    def _as_a_worker(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(worker_lock, "_is_worker", lambda: True)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def test_it_is_free_again_when_the_worker_has_ended(self, tmp_path: Path) -> None:
        for _ in range(2):
            with (
                only_worker("realtime"),
                pytest.raises(ConfigurationError, match="run one worker"),
                only_worker("realtime"),
            ):
                pass
        assert list(tmp_path.iterdir()) == []

    def test_another_application_has_its_own(self) -> None:
        with only_worker("one"), only_worker("other"):
            pass

    def test_it_is_nobody_elses_to_read_and_no_link_is_followed(self, tmp_path: Path) -> None:
        with only_worker("realtime"):
            (lock,) = tmp_path.iterdir()
            assert lock.stat().st_mode & 0o077 == 0
        precious = tmp_path / "precious"
        precious.write_text("data")
        lock.symlink_to(precious)
        with pytest.raises(OSError, match="symbolic links"), only_worker("realtime"):
            pass
        assert precious.read_text() == "data"


def test_where_processes_cannot_be_compared_nobody_is_taken_for_a_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_lock, "_command_line", lambda _: None)
    assert not worker_lock._is_worker()
