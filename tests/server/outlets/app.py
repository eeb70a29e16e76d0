"""Server process that only delivers to an outlet, until it is stopped."""

import asyncio
import sys

from realtime_bridge.protocol.outlets.timing import OutletTiming
from realtime_bridge.server import Bridge
from realtime_bridge.server.timing import ServerTiming
from realtime_bridge.settings import Settings


async def main() -> None:
    outlets = OutletTiming(lease_seconds=5, renew_seconds=0.5)
    bridge = Bridge(Settings.load(), timing=ServerTiming(outlets=outlets))
    bridge.outlet(sys.argv[1])
    async with bridge:
        await asyncio.Event().wait()


asyncio.run(main())
