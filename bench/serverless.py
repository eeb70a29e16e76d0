"""What a cold process pays for its first publish over the bare SDK's: CPU, median of several runs.

Each run is a process of its own that imports, publishes once through a local provider, and ends.
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from statistics import median

from realtime_bridge.testing.providers import LocalAbly, LocalPusher
from realtime_bridge_backends.ably.tokens import Signer

RUNS = 9
APP = '"1001", "local-key", "local-secret"'
HERE = 'host="127.0.0.1", port=int(__import__("os").environ["REALTIME_PUSHER_PORT"])'

FROM_ENV = """
import asyncio
from realtime_bridge import Broadcaster
async def main():
    async with Broadcaster.from_env() as broadcaster:
        await broadcaster.publish("a", "e", 1)
asyncio.run(main())
"""

PUSHER = {
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
    "realtime_bridge, from_env()": FROM_ENV,
}

THERE = 'endpoint="127.0.0.1", port=int(os.environ["REALTIME_ABLY_PORT"]), tls=False'
ABLY = {
    "the SDK": f"""
import asyncio, os
from ably import AblyRest
async def main():
    async with AblyRest(token=os.environ["TOKEN"], {THERE}) as ably:
        await ably.channels.get("a").publish("e", "1")
asyncio.run(main())
""",
    "realtime_bridge, plain values": f"""
import asyncio, os
from realtime_bridge import Broadcaster
from realtime_bridge_backends.ably import AblyBackend
async def main():
    backend = AblyBackend(os.environ["REALTIME_ABLY_KEY"], {THERE})
    async with Broadcaster(backend=backend) as broadcaster:
        await broadcaster.publish("a", "e", 1)
asyncio.run(main())
""",
    "realtime_bridge, from_env()": FROM_ENV,
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


async def compare(
    programs: Mapping[str, str], environment: Mapping[str, str], *, bare: str
) -> None:
    """Print what each program takes, and how much more than the bare one."""
    environment = os.environ | environment | {"REALTIME_LOG": "none"}
    columns: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(RUNS):
        for name, program in programs.items():
            columns[name].append(await milliseconds(program, environment))
    least = median(columns[bare])
    for name, column in columns.items():
        print(f"{name:32} {median(column):6.0f} ms  {median(column) - least:+6.0f} over the SDK")


async def main() -> None:
    async with LocalPusher() as pusher:
        print("Pusher")
        await compare(PUSHER, pusher.environment, bare="the SDK, asyncio (aiohttp)")
        assert pusher.calls == RUNS * (len(PUSHER) - 1)
    async with LocalAbly() as ably:
        print("Ably")
        # The SDK refuses a key without TLS: the bare one gets a token for nothing.
        token = Signer(ably.key).jwt({"*": ["publish"]}, seconds=600)
        await compare(ABLY, ably.environment | {"TOKEN": token}, bare="the SDK")
        assert ably.calls == RUNS * len(ABLY)


if __name__ == "__main__":
    asyncio.run(main())
