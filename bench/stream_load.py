"""Many streams through one server process and Redis: delay of the tokens, and their cost."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench.harness import cpu_seconds
from bench.peers import OURS
from bench.peers import redis as run_redis
from bench.streams import redis_bridge, redis_process, stream_worker

WORKERS = 2
"""Processes that write the streams; a process of Python uses one core."""


def many_streams(streams: int, rate: int, seconds: int) -> dict[str, float]:
    """Return delays in ms, and the CPU of each process for a token in µs.

    Each stream has a channel and a reader of its own. The first item of a part is measured: it
    waited the longest.

    Args:
        streams: number of streams.
        rate: tokens a second of each stream.
        seconds: duration.

    """
    with ExitStack() as exits:
        url = exits.enter_context(run_redis())
        server = exits.enter_context(redis_bridge(url))
        frames = exits.enter_context(tempfile.NamedTemporaryFile("w", suffix=".frames"))
        Path(frames.name).write_text("".join(f"{line}\n" for line in OURS.lines(streams, streams)))
        options = ["--path", OURS.path, "--frames", frames.name, "--clock", "--ready", OURS.ready]
        load = exits.enter_context(server.load(streams, *options))
        load.wait_until_ready(streams)
        each = streams // WORKERS
        workers = [
            exits.enter_context(stream_worker(url, "many", number * each, each, rate, seconds))
            for number in range(WORKERS)
        ]
        pids = {
            "server": [server.pid],
            "Redis": [redis_process(url)],
            "workers": [w.pid for w in workers],
        }
        start = {name: sum(map(cpu_seconds, group)) for name, group in pids.items()}
        for worker in workers:
            worker.stdin.write("begin\n")
        for worker in workers:
            worker.stdout.readline()
        cpu = {name: sum(map(cpu_seconds, group)) - start[name] for name, group in pids.items()}
        report = load.report()["each"]
    tokens = streams * rate * seconds
    return {
        "parts received": report["count"],
        "p50, ms": report["p50"] / 1e3,
        "p99, ms": report["p99"] / 1e3,
        **{f"CPU of {name}, µs a token": 1e6 * used / tokens for name, used in cpu.items()},
    }
