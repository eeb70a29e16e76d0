"""Simulation of Windows: the core, the server and the commands without the functions of POSIX."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from realtime_bridge.cli.stop_signals import call_on_stop
from tests.cli.processes import SECRET, environment

WITHOUT_POSIX = """
import asyncio, multiprocessing, os, signal, socket, sys, threading, uvicorn

MISSING = {
    os: ("register_at_fork", "fork", "getuid", "geteuid", "getgid", "killpg", "O_NOFOLLOW"),
    signal: ("SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "setitimer"),
    socket: ("SO_REUSEPORT",),
}
for module, names in MISSING.items():
    for name in names:
        delattr(module, name)
for name in ("fcntl", "pwd", "grp", "resource", "termios", "uvloop"):
    sys.modules[name] = None

def refuse(*_):
    raise NotImplementedError

asyncio.SelectorEventLoop.add_signal_handler = refuse
"""
IMPORTS = """
import importlib, pkgutil
import realtime_bridge, realtime_bridge_backends

# Gunicorn does not run on Windows. Celery's billiard reads sys.platform, not what is there.
OTHERS = ("processing_queue", "__main__", ".gunicorn", ".celery")
failed = []
for package in (realtime_bridge, realtime_bridge_backends):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not any(other in module.name for other in OTHERS):
            try:
                importlib.import_module(module.name)
            except Exception as error:
                failed.append(f"{module.name}: {error!r}")
print(failed)
"""
SERVER = """
from aiohttp import ClientSession
from realtime_bridge import BlockingBroadcaster
from realtime_bridge.server import Bridge
from realtime_bridge.client import HybridClient

multiprocessing.parent_process = lambda: True  # a worker of `uvicorn --reload`
bridge = Bridge.from_env()
broadcaster = BlockingBroadcaster.from_env()

async def main():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(bridge, lifespan="on", loop="asyncio", log_level="warning",
        ws="realtime_bridge.server.connections.fast:WebSocket")
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server.serve([listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/realtime"
    async with HybridClient(url, ["user-ann"], token=bridge.issue_token("ann")) as client:
        await client.wait_subscribed()
        await asyncio.to_thread(broadcaster.publish, "user-ann", "order.paid", 1)
        print([(await anext(aiter(client))).data])
    broadcaster.close()
    server.should_exit = True
    await serving

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("program", "output"), [(IMPORTS, "[]"), (SERVER, "[1]")], ids=["imports", "server"]
)
def test_program_works_without_posix(program: str, output: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT_POSIX + program],
        env=environment({"REALTIME_BACKEND": "memory", "REALTIME_SECRET": SECRET}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == (output, "")


class LoopOfWindows(asyncio.SelectorEventLoop):
    """Event loop without handlers of signals."""

    def add_signal_handler(self, *_: object) -> None:
        raise NotImplementedError


class TestStopSignals:
    @pytest.fixture
    def _handlers(self) -> Iterator[None]:
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = [signal.getsignal(number) for number in numbers]
        yield
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)

    @pytest.mark.usefixtures("_handlers")
    @pytest.mark.parametrize("loop", [asyncio.SelectorEventLoop, LoopOfWindows])
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_signal_stops_a_command(
        self, loop: Callable[[], asyncio.AbstractEventLoop], number: signal.Signals
    ) -> None:
        async def command() -> None:
            stop = asyncio.Event()
            call_on_stop(stop.set)
            os.kill(os.getpid(), number)
            async with asyncio.timeout(10):
                await stop.wait()

        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(command())
