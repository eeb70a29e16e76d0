"""Processes of the server and the workers, from their start to their end."""

import asyncio
import os
import socket
import sys
import tempfile
import urllib.request
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from functools import partial
from pathlib import Path
from signal import Signals

from intake import find_files
from realtime_bridge.settings import DEVELOPMENT_SECRET
from variant import LaunchError, Variant

HOST = "127.0.0.1"
FOLDER = Path(__file__).resolve().parent
READY_SECONDS = 20.0
GRACE_SECONDS = 8.0

Start = Callable[[], AbstractAsyncContextManager[Process]]


async def launch(
    variant: Variant,
    files: Sequence[Path],
    *,
    port: int,
    data: Path | None,
    ready: Callable[[str, Path], None],
) -> None:
    """Run the server and the workers until the task is cancelled.

    Args:
        variant: web application and workers to run.
        files: files and folders that become jobs at the start.
        port: TCP port to listen on; 0 takes a free one.
        data: folder of all data; None makes a temporary one.
        ready: called with the page's URL and the folder after the start.

    Raises:
        LaunchError: a process did not start, or ended.
        IntakeError: `files` cannot be processed.

    """
    named_files = find_files(files)
    port = _free_port(port)
    with _folder(data) as folder:
        _set_environment(folder, port)
        os.environ |= variant.environment()
        variant.begin(named_files)
        await _run_all(variant, port, lambda: ready(f"http://{HOST}:{port}/", folder))


async def _run_all(variant: Variant, port: int, ready: Callable[[], None]) -> None:
    try:
        async with AsyncExitStack() as children, asyncio.TaskGroup() as watchers:
            start_server = partial(_process, *_server(variant.app, port))
            server = await children.enter_async_context(start_server())
            follow_server = start_server if variant.follow_server else None
            watchers.create_task(_watch("server", server, follow_server))
            await _wait_until_healthy(f"http://{HOST}:{port}/realtime/health/ready")
            for command in variant.workers:
                start = partial(_process, *command, end=variant.end)
                worker = await children.enter_async_context(start())
                follow = partial(_recovered, variant, start) if variant.follow else None
                watchers.create_task(_watch("worker", worker, follow))
            ready()
    except* LaunchError as errors:
        raise errors.exceptions[0] from None


def _server(app: str, port: int) -> Sequence[str]:
    address = ("--app-dir", str(FOLDER), "--host", HOST, "--port", str(port))
    options = ("--log-level", "warning", "--timeout-graceful-shutdown", "3")
    # A compressed message of kilobytes could be megabytes in memory.
    return ("uvicorn", app, *address, *options, "--ws-per-message-deflate", "false")


@asynccontextmanager
async def _process(
    module: str, *arguments: str, end: Signals = Signals.SIGTERM
) -> AsyncGenerator[Process]:
    # -P: imports must not find modules in the current folder.
    # A terminal sends Ctrl-C to its process group: in another group, a child ends when we end it.
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", module, *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=sys.stderr,
        process_group=0,
    )
    try:
        yield process
    finally:
        await _end(process, end)


@asynccontextmanager
async def _recovered(variant: Variant, start: Start) -> AsyncGenerator[Process]:
    await asyncio.to_thread(variant.recover)
    async with start() as process:
        yield process


async def _end(process: Process, number: Signals) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(number)
    try:
        await asyncio.wait_for(process.wait(), GRACE_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()


async def _watch(name: str, process: Process, follow: Start | None = None) -> None:
    code = await process.wait()
    if follow is None or code >= 0:
        raise LaunchError(f"The {name} ended with exit code {code}: see its output above.")
    print(f"{name} ended signal={-code}: starting another", file=sys.stderr)
    async with follow() as successor:
        await _watch(name, successor, follow)


async def _wait_until_healthy(url: str) -> None:
    for _ in range(int(READY_SECONDS / 0.1)):
        if await asyncio.to_thread(_answers, url):
            return
        await asyncio.sleep(0.1)
    raise LaunchError(f"The server did not become ready within {READY_SECONDS:g} s: {url}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except OSError:
        return False


def _free_port(port: int) -> int:
    """Return `port` if it is free, or a free port for 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise LaunchError(
                f"Port {port} cannot be used ({getattr(error, 'strerror', None) or error}): choose "
                "another with --port, or leave out --port."
            ) from error
        return int(probe.getsockname()[1])


@contextmanager
def _folder(data: Path | None) -> Generator[Path]:
    if data:
        yield data.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="processing-queue-") as temporary:
        yield Path(temporary)


def _set_environment(data: Path, port: int) -> None:
    inherited = os.environ.get("PYTHONPATH")
    os.environ |= {
        "PYTHONPATH": os.pathsep.join([str(FOLDER), *([inherited] if inherited else [])]),
        "QUEUE_DATA": str(data),
        "REALTIME_DEV": "true",
        # A development server refuses the secret that this shell or a .env file may have.
        "REALTIME_SECRET": DEVELOPMENT_SECRET,
        "REALTIME_WEBSOCKET_URL": f"http://{HOST}:{port}/realtime",
    }
