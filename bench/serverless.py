"""CPU time of a cold process until its first publish, over that of the bare SDK.

Each run is a process of its own: it imports, publishes once through a local provider, and ends.
The rows are interleaved, and each is the median of its runs. Exits with 1 when a limit is passed.
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from statistics import median

from realtime_bridge.testing.providers import LocalAbly, LocalPusher
from realtime_bridge_backends.ably.tokens import Signer

RUNS = int(os.environ.get("RUNS", "9"))

PLAIN, FROM_ENV_ROW = "realtime_bridge, plain values", "realtime_bridge, from_env()"
LIMITS = {PLAIN: 30.0, FROM_ENV_ROW: 200.0}
"""Milliseconds over the SDK; that of plain values holds for Pusher."""

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
    PLAIN: f"""
import asyncio
from realtime_bridge import Broadcaster
from realtime_bridge_backends.pusher import PusherBackend
async def main():
    async with Broadcaster(backend=PusherBackend({APP}, tls=False, {HERE})) as broadcaster:
        await broadcaster.publish("a", "e", 1)
asyncio.run(main())
""",
    FROM_ENV_ROW: FROM_ENV,
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
    PLAIN: f"""
import asyncio, os
from realtime_bridge import Broadcaster
from realtime_bridge_backends.ably import AblyBackend
async def main():
    backend = AblyBackend(os.environ["REALTIME_ABLY_KEY"], {THERE})
    async with Broadcaster(backend=backend) as broadcaster:
        await broadcaster.publish("a", "e", 1)
asyncio.run(main())
""",
    FROM_ENV_ROW: FROM_ENV,
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
    output, _ = await process.communicate()
    return float(output)


async def compare(
    programs: Mapping[str, str], environment: Mapping[str, str], *, bare: str
) -> dict[str, float]:
    """Print the time of each program; return it over the bare one's, by row."""
    environment = os.environ | environment | {"REALTIME_LOG": "none"}
    # A deployment has the compiled modules: the first round, which is not counted, writes them.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    for program in programs.values():
        await milliseconds(program, environment)
    columns: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(RUNS):
        for name, program in programs.items():
            columns[name].append(await milliseconds(program, environment))
    least = median(columns[bare])
    over = {name: median(column) - least for name, column in columns.items()}
    for name, column in columns.items():
        print(f"{name:32} {median(column):6.0f} ms  {over[name]:+6.0f} over the SDK")
    return over


async def main() -> None:
    async with LocalPusher() as pusher:
        print("Pusher")
        pushers = await compare(PUSHER, pusher.environment, bare="the SDK, asyncio (aiohttp)")
        assert pusher.calls == (RUNS + 1) * (len(PUSHER) - 1)
    async with LocalAbly() as ably:
        print("Ably")
        # The SDK refuses a key without TLS: the bare program gets a token, at no cost of its own.
        token = Signer(ably.key).create_jwt({"*": ["publish"]}, seconds=600)
        ablys = await compare(ABLY, ably.environment | {"TOKEN": token}, bare="the SDK")
        assert ably.calls == (RUNS + 1) * len(ABLY)
    passed = [f"Pusher, {row}" for row, limit in LIMITS.items() if pushers[row] > limit]
    if ablys[FROM_ENV_ROW] > LIMITS[FROM_ENV_ROW]:
        passed.append(f"Ably, {FROM_ENV_ROW}")
    sys.exit(f"over the limit: {'; '.join(passed)}" if passed else 0)


if __name__ == "__main__":
    asyncio.run(main())
