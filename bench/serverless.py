"""What a cold process pays for its first publish over the bare SDK's: CPU, median of several runs.

Each run is a process of its own that imports, publishes once through a local Pusher, and ends.
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from statistics import median

from realtime_bridge.testing.providers import LocalPusher

RUNS = 9
APP = '"1001", "local-key", "local-secret"'
HERE = 'host="127.0.0.1", port=int(__import__("os").environ["REALTIME_PUSHER_PORT"])'

PROGRAMS = {
    "nothing": "pass",
    "the SDK, sync (requests)": f"""
from pusher import Pusher
Pusher({APP}, ssl=False, {HERE}).trigger("private-a", "e", 1)
""",
    "the SDK, asyncio (aiohttp)": f"""
import asyncio
from pusher import Pusher
from pusher.aiohttp import AsyncIOBackend
async def main():
    await Pusher({APP}, ssl=False, {HERE}, backend=AsyncIOBackend).trigger("private-a", "e", 1)
asyncio.run(main())
""",
    "realtime_bridge, plain values": f"""
import asyncio
from realtime_bridge import Broadcaster
from realtime_bridge_backends.pusher import PusherBackend
async def main():
    async with Broadcaster(backend=PusherBackend({APP}, tls=False, {HERE})) as broadcaster:
        await broadcaster.publish("a", "e", 1)
asyncio.run(main())
""",
    "realtime_bridge, from_env()": """
import asyncio
from realtime_bridge import Broadcaster
async def main():
    async with Broadcaster.from_env() as broadcaster:
        await broadcaster.publish("a", "e", 1)
asyncio.run(main())
""",
}

MEASURE = """
import resource
used = resource.getrusage(resource.RUSAGE_SELF)
print(1000 * (used.ru_utime + used.ru_stime))
"""


async def milliseconds(program: str, environment: Mapping[str, str]) -> float:
    """Return the CPU time of a process that runs `program`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program + MEASURE),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    said, _ = await process.communicate()
    return float(said)


async def main() -> None:
    async with LocalPusher() as pusher:
        environment = os.environ | pusher.environment | {"REALTIME_LOG": "none"}
        columns: dict[str, list[float]] = {name: [] for name in PROGRAMS}
        for _ in range(RUNS):
            for name, program in PROGRAMS.items():
                columns[name].append(await milliseconds(program, environment))
        assert pusher.calls == RUNS * (len(PROGRAMS) - 1)
    bare = median(columns["the SDK, asyncio (aiohttp)"])
    for name, column in columns.items():
        print(f"{name:32} {median(column):6.0f} ms  {median(column) - bare:+6.0f} over the SDK")


if __name__ == "__main__":
    asyncio.run(main())
