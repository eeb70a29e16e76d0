"""Chat: Redis, a web server and a Celery worker, from the start to Ctrl-C."""

import asyncio
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import urllib.request
from argparse import ArgumentParser
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from build import BuildError, build

HOST = "127.0.0.1"
FOLDER = Path(__file__).resolve().parent
READY_SECONDS = 40.0
GRACE_SECONDS = 8.0
SHUTDOWN = ("--timeout-graceful-shutdown", "3")
WORKER = (
    *("celery", "--quiet", "-A", "worker", "worker", "--concurrency", "2"),
    *("--loglevel", "warning", "--without-mingle", "--without-gossip"),
)


class LaunchError(Exception):
    """Failure of the application at its start or later."""


def main() -> int:
    """Run until Ctrl-C, and return the exit code."""
    parser = ArgumentParser(prog="chat", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="TCP port; default: a free one")
    port = parser.parse_args().port or free_port()
    try:
        with tempfile.TemporaryDirectory(prefix="chat-") as data:
            build(Path(data) / "page")
            asyncio.run(_until_signal(port, Path(data)))
    except (BuildError, LaunchError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        print("Stopped.", file=sys.stderr)
    return 0


async def _until_signal(port: int, data: Path) -> None:
    task = asyncio.current_task()
    assert task

    def end() -> None:
        if not task.cancelling():
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, end)
    async with AsyncExitStack() as children:
        processes = await _start(children, port, data)
        url = f"http://{HOST}:{port}/"
        await _until_ready(f"{url}realtime/health/ready", processes)
        print(f"The chat is running: {url}", file=sys.stderr)
        print("Sign in as ann, with the password secret. Ctrl-C stops all.", file=sys.stderr)
        kill = f"pkill -9 -P {processes['worker'].pid}"
        print(f"In the middle of an answer, kill its worker: {kill}", file=sys.stderr)
        if not sys.stdout.isatty():
            print(url, flush=True)
        await _until_one_ends(processes)


async def _start(children: AsyncExitStack, port: int, data: Path) -> dict[str, Process]:
    processes = {}
    if "REDIS_URL" not in os.environ:
        redis_port = free_port()
        os.environ["REDIS_URL"] = f"redis://{HOST}:{redis_port}/0"
        redis = _process(*_redis(redis_port, data))
        processes["Redis"] = await children.enter_async_context(redis)
    _set_environment(port, data)
    commands = {"server": _server(port), "worker": WORKER}
    for name, command in commands.items():
        # SIGQUIT: the worker does not wait for its tasks.
        end = signal.SIGQUIT if name == "worker" else signal.SIGTERM
        child = _process(sys.executable, "-P", "-m", *command, end=end)
        processes[name] = await children.enter_async_context(child)
    return processes


def _server(port: int) -> tuple[str, ...]:
    address = ("--host", HOST, "--port", str(port))
    return ("uvicorn", "app:app", *address, "--log-level", "warning", *SHUTDOWN)


def _redis(port: int, data: Path) -> tuple[str, ...]:
    program = shutil.which("redis-server")
    if program is None:
        raise LaunchError("There is no redis-server: install it, or set REDIS_URL")
    return (program, "--bind", HOST, "--port", str(port), "--save", "", "--dir", str(data))


def _set_environment(port: int, data: Path) -> None:
    inherited = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(FOLDER), *([inherited] if inherited else [])])
    os.environ["CHAT_DATA"] = str(data)
    os.environ["REALTIME_REDIS_URL"] = os.environ["REDIS_URL"]
    os.environ.setdefault("REALTIME_BACKEND", "redis")
    os.environ.setdefault("REALTIME_SECRET", secrets.token_hex(32))


@asynccontextmanager
async def _process(*command: str, end: signal.Signals = signal.SIGTERM) -> AsyncGenerator[Process]:
    # A terminal sends Ctrl-C to its process group: in another group, a child ends when we end it.
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=DEVNULL,
        stdout=DEVNULL,
        process_group=0,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(end)
        try:
            await asyncio.wait_for(process.wait(), GRACE_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _until_ready(url: str, processes: dict[str, Process]) -> None:
    for _ in range(int(READY_SECONDS / 0.1)):
        if await asyncio.to_thread(_answers, url):
            return
        _raise_for_ended(processes)
        await asyncio.sleep(0.1)
    raise LaunchError(f"The server did not become ready within {READY_SECONDS:g} s: {url}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except OSError:
        return False


async def _until_one_ends(processes: dict[str, Process]) -> None:
    waits = [asyncio.create_task(process.wait()) for process in processes.values()]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    _raise_for_ended(processes)


def _raise_for_ended(processes: dict[str, Process]) -> None:
    for name, process in processes.items():
        if process.returncode is not None:
            raise LaunchError(f"{name} ended with exit code {process.returncode}: see its output")


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
