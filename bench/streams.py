"""Streams: cost of an item for its worker and for Redis, and delay until readers have it."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from redis import Redis

from bench.harness import LOAD_CORE, ServerProcess, run_on_core, run_server, start_on_core
from bench.peers import OURS, prepared_command
from bench.peers import redis as run_redis
from bench.servers.driver import SECRET
from realtime_bridge import BlockingBroadcaster, Broadcaster, Event
from realtime_bridge.backend.log import FoldingLog
from realtime_bridge.client import HybridClient
from realtime_bridge.server.auth.tokens import Tokens
from realtime_bridge_backends.memory import MemoryBackend
from realtime_bridge_backends.postgres import PostgresBackend
from realtime_bridge_backends.redis import RedisBackend
from tests.services.postgres import PostgresServer

WORKER = Path(__file__).parent / "servers" / "stream_worker.py"
TOKEN = " token"
RATE = 100
"""Items a second of one stream."""

PART_ITEMS = 5
"""Items of a part: those of 50 ms, the default pace."""

CONTENT_BYTES, GROUP_PART_ITEMS = 1_000_000, 50
"""Bytes of the stream that is read at once, and items of each of its parts."""


def append_cost(calls: int) -> dict[str, float]:
    """Return the CPU time of the caller for a call of `append`, in µs."""

    def timed(append: Callable[[Any], None]) -> float:
        start = time.thread_time_ns()
        for _ in range(calls):
            append(TOKEN)
        return (time.thread_time_ns() - start) / 1e3 / calls

    async def in_loop() -> float:
        async with (
            Broadcaster(log=MemoryBackend()) as broadcaster,
            broadcaster.stream("bench-0") as stream,
        ):
            return timed(stream.append)

    with (
        BlockingBroadcaster(lambda: Broadcaster(log=MemoryBackend())) as broadcaster,
        broadcaster.stream("bench-0") as stream,
    ):
        blocking = timed(stream.append)
    return {"`append()`, async, µs": asyncio.run(in_loop()), "`append()`, blocking, µs": blocking}


def worker_cost(url: str, seconds: int) -> dict[str, float]:
    """Return the worker's CPU time for a token at `RATE`, over that of a loop without a stream.

    A publish for each token, at the same rate, is the comparison.
    """
    idle, streamed, published = asyncio.run(_async_worker(url, seconds))
    blocking_idle, blocking = _blocking_worker(url, seconds)
    return {
        "worker's CPU a token, async, µs": streamed - idle,
        "worker's CPU a token, blocking, µs": blocking - blocking_idle,
        "a publish for each token, async, µs": published - idle,
    }


async def _async_worker(url: str, seconds: int) -> tuple[float, float, float]:
    async def ticks(step: Callable[[], object]) -> float:
        start = time.process_time()
        for _ in range(RATE * seconds):
            if asyncio.iscoroutine(work := step()):
                await work
            await asyncio.sleep(1 / RATE)
        return 1e6 * (time.process_time() - start) / (RATE * seconds)

    async with Broadcaster(log=RedisBackend(url)) as broadcaster:
        idle = await ticks(lambda: None)
        async with broadcaster.stream("bench-0") as stream:
            streamed = await ticks(lambda: stream.append(TOKEN))
        published = await ticks(lambda: broadcaster.publish("bench-0", "bench.step", [TOKEN]))
        return idle, streamed, published


def _blocking_worker(url: str, seconds: int) -> tuple[float, float]:
    def ticks(step: Callable[[], object]) -> float:
        start = time.process_time()
        for _ in range(RATE * seconds):
            step()
            time.sleep(1 / RATE)
        return 1e6 * (time.process_time() - start) / (RATE * seconds)

    with BlockingBroadcaster(lambda: Broadcaster(log=RedisBackend(url))) as broadcaster:
        idle = ticks(lambda: None)
        with broadcaster.stream("bench-0") as stream:
            return idle, ticks(lambda: stream.append(TOKEN))


def redis_cost(url: str, events: int) -> dict[str, float]:
    """Return the time of Redis for an appended part and for a plain event of the same data, µs."""
    return asyncio.run(_redis_cost(url, events))


async def _redis_cost(url: str, events: int) -> dict[str, float]:
    async with RedisBackend(url) as log:

        async def cost(make: Callable[[int], Event]) -> float:
            await log._client.config_resetstat()
            for number in range(events):
                await log.append([make(number)])
            statistics = await log._client.info("commandstats")
            return float(statistics["cmdstat_fcall"]["usec_per_call"])

        await log.append([_started("parts")])
        items = [TOKEN] * PART_ITEMS
        plain = await cost(lambda _: Event(channel="plain", event="stream.part", data=items))
        parts = await cost(lambda _: _part("parts", items))
    return {
        "Redis, a part, µs": parts,
        "Redis, a plain event, µs": plain,
        "Redis, a part over a plain event": parts / plain,
    }


def _started(channel: str) -> Event:
    return Event(
        channel=channel,
        event="stream.started",
        data={"stream": "m1", "format": "text", "meta": None},
        key="stream-m1",
        attempt="A",
        take="always",
        lease=3_600,
        will={"event": "stream.ended", "data": {"state": "lost"}},
    )


def _part(channel: str, items: list[str]) -> Event:
    options: Any = {"key": "stream-m1", "attempt": "A", "fold": "append"}
    return Event(channel=channel, event="stream.part", data=items, **options)


def group_reads(redis_url: str, postgres_url: str, reads: int) -> dict[str, float]:
    """Return the time of a read of a stream with 1 MB of items, for each log in ms.

    The reader's CPU time is shown too: it does not grow with the other work of the machine.
    """
    return asyncio.run(_group_reads(redis_url, postgres_url, reads))


async def _group_reads(redis_url: str, postgres_url: str, reads: int) -> dict[str, float]:
    logs: dict[str, FoldingLog] = {
        "memory": MemoryBackend(),
        "redis": RedisBackend(redis_url),
        "postgres": PostgresBackend(postgres_url),
    }
    times: dict[str, float] = {}
    for name, log in logs.items():
        async with log:
            await _fill(log)
            samples, cpu = [], time.process_time()
            for _ in range(reads):
                start = time.perf_counter()
                page = await log.latest("group", key="stream-m1")
                samples.append(time.perf_counter() - start)
                assert len(page.events[1].body) > CONTENT_BYTES - 1_000
            cpu = time.process_time() - cpu
            times[f"1 MB of a stream from {name}, ms"] = 1e3 * median(samples)
            times[f"1 MB of a stream from {name}, reader's CPU, ms"] = 1e3 * cpu / reads
    return times


async def _fill(log: FoldingLog) -> None:
    items = [TOKEN] * GROUP_PART_ITEMS
    size = len(_part("group", items).body) - 1  # without brackets, with a comma
    await log.append([_started("group")])
    parts = [_part("group", items) for _ in range(CONTENT_BYTES // size)]
    for start in range(0, len(parts), 50):
        await log.append(parts[start : start + 50])


def first_token(url: str, samples: int) -> dict[str, float]:
    """Return the delay from the first `append` of a stream to a client's handler, in ms.

    The worker, the server and the client are processes of their own, and so is Redis.
    """
    with (
        redis_bridge(url) as server,
        stream_worker(url, "first", samples) as worker,
        run_on_core(LOAD_CORE),
    ):
        address = f"http://127.0.0.1:{server.port}/realtime"
        return asyncio.run(_first_tokens(address, worker, samples))


async def _first_tokens(url: str, worker: Any, samples: int) -> dict[str, float]:
    token = Tokens(SECRET, issuer="realtime").issue("42", channels=["bench-*"])
    delays: list[float] = []
    async with HybridClient(url, ["bench-0"], token=token) as client:
        await client.wait_subscribed()
        worker.stdin.write("next\n")
        async for item in client:
            if isinstance(item, Event) and item.event == "stream.part":
                delays.append((time.monotonic_ns() - item.data[0]["t"]) / 1e6)
            if isinstance(item, Event) and item.event == "stream.ended":
                if len(delays) == samples:
                    break
                worker.stdin.write("next\n")
    cuts = quantiles(delays, n=100)
    return {
        "first token to a client, p50, ms": cuts[49],
        "first token to a client, p99, ms": cuts[98],
    }


@contextmanager
def redis_bridge(url: str) -> Iterator[ServerProcess]:
    """Run a server process that delivers from Redis."""
    env = {"REALTIME_BACKEND": "redis", "REALTIME_REDIS_URL": url}
    with prepared_command(OURS) as command, run_server(command, env=env) as server:
        yield server


def redis_process(url: str) -> int:
    """Return the id of a Redis's process."""
    with Redis.from_url(url) as client:
        process: int = client.info("server")["process_id"]
        return process


@contextmanager
def stream_worker(url: str, *command: object) -> Iterator[subprocess.Popen[str]]:
    """Run a worker process; see `servers/stream_worker.py` for its commands."""
    env = os.environ | {"REALTIME_BACKEND": "redis", "REALTIME_REDIS_URL": url}
    env |= {"REALTIME_SECRET": SECRET}
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = start_on_core(LOAD_CORE, [sys.executable, WORKER], env=env, **pipes)
    try:
        assert process.stdin
        assert process.stdout
        process.stdin.write(" ".join(map(str, command)) + "\n")
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("the worker did not start")
        yield process
    finally:
        process.kill()
        process.wait()


def measure(*, quick: bool) -> dict[str, float]:
    """Return all costs of one round."""
    with (
        run_redis() as url,
        PostgresServer() as postgres,
    ):
        return {
            **append_cost(20_000),
            **worker_cost(url, 2 if quick else 10),
            **redis_cost(url, 500 if quick else 5_000),
            **group_reads(url, postgres.database(), 5 if quick else 20),
            **first_token(url, 20 if quick else 200),
        }
