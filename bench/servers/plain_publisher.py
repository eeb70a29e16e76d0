"""Publisher of plain events, which prints its CPU time for a publish in µs.

It runs with the code of several versions, which `PYTHONPATH` names: it uses public names alone.
Arguments: the log and its URL. Each line of standard input is a number of publishes.
"""

import asyncio
import sys
import time

import psycopg

from realtime_bridge import Broadcaster
from realtime_bridge.backend.log import Log
from realtime_bridge.model.retention import Retention
from realtime_bridge.postgres import schema
from realtime_bridge_backends.memory import MemoryBackend
from realtime_bridge_backends.postgres import PostgresBackend
from realtime_bridge_backends.redis import RedisBackend

DATA = {"text": "x" * 180}


def create_log(name: str, url: str) -> Log:
    """Return a log, after the installation of its schema where it has one."""
    if name == "memory":
        return MemoryBackend()
    if name == "redis":
        return RedisBackend(url)
    with psycopg.connect(url, autocommit=True) as connection:
        schema.install(connection, "realtime", Retention())
    return PostgresBackend(url)


async def main(name: str, url: str) -> None:
    log = create_log(name, url)
    async with Broadcaster(log=log) as broadcaster:

        async def publish(events: int) -> float:
            start = time.process_time()
            for _ in range(events):
                await broadcaster.publish("job.7", "job.step", DATA)
            return 1e6 * (time.process_time() - start) / events

        await publish(200)
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(await publish(int(line)), flush=True)


asyncio.run(main(*sys.argv[1:]))
