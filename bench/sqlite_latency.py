"""Delay from a worker's publish into a file to a client's handler, and CPU of an idle server.

`realtime-bridge serve` runs with its default log, as a process of its own; the worker appends to
the file without it. The client's handler is in the worker's process, so both have one clock.
"""

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles

from bench.harness import cpu_seconds
from bench.servers.driver import SECRET
from realtime_bridge import Broadcaster, Event
from realtime_bridge.client import HybridClient
from realtime_bridge.server.auth.tokens import Tokens
from realtime_bridge_backends.sqlite import SQLiteBackend

CHANNEL = "bench-0"
PAUSE_SECONDS = 0.01
WARM_UP = 50
"""Events that are not counted."""


@contextmanager
def served(folder: Path) -> Iterator[tuple[int, str]]:
    """Run `realtime-bridge serve` in a folder; yield its process and its URL."""
    command = Path(sys.executable).with_name("realtime-bridge")
    process = subprocess.Popen(
        [command, "serve", "--port", "0"],
        cwd=folder,
        env=os.environ | {"REALTIME_SECRET": SECRET},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout
        for line in process.stdout:
            if match := re.search(r"serving (http://\S+?)[ ,]", line):
                yield process.pid, match[1]
                return
        raise RuntimeError("the server did not start")
    finally:
        process.terminate()
        process.wait()


def idle_share(process: int, seconds: float) -> float:
    """Return the share of one core that a process takes, in percent."""
    start, cpu = time.monotonic(), cpu_seconds(process)
    time.sleep(seconds)
    return 100 * (cpu_seconds(process) - cpu) / (time.monotonic() - start)


async def delays(path: Path, url: str, samples: int) -> list[float]:
    """Publish some events from a worker; return each one's time until the handler, in ms."""
    token = Tokens(SECRET, issuer="realtime").issue("42", channels=["bench-*"])
    times: list[float] = []
    async with (
        Broadcaster(log=SQLiteBackend(path)) as broadcaster,
        HybridClient(url, [CHANNEL], token=token) as client,
    ):
        await client.wait_subscribed()
        received = asyncio.ensure_future(_receive(client, times, samples + WARM_UP))
        while not received.done():
            data = {"at": time.perf_counter(), "x": "x" * 170}
            await broadcaster.publish(CHANNEL, "bench.step", data)
            await asyncio.sleep(PAUSE_SECONDS)
        await received
    return times[WARM_UP:]


async def _receive(client: HybridClient, times: list[float], count: int) -> None:
    async for item in client:
        if isinstance(item, Event):
            times.append(1e3 * (time.perf_counter() - item.data["at"]))
        if len(times) == count:
            return


def main() -> None:
    samples, seconds = (300, 10.0) if "--quick" in sys.argv else (3_000, 60.0)
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as (process, url):
        time.sleep(2)  # the start is no idle time
        print(f"idle server: {idle_share(process, seconds):.2f} % of a core")
        times = asyncio.run(delays(Path(folder, ".realtime", "log.db"), url, samples))
        cuts = quantiles(times, n=100)
        print(f"publish to handler: p50 {cuts[49]:.2f} ms, p99 {cuts[98]:.2f} ms")


if __name__ == "__main__":
    main()
