"""Tests of the channel opener: requests share an opening, and each ends on its own."""

import asyncio

from realtime_bridge.backend.supervisor import Supervisor
from realtime_bridge.server.fanout.channel_opener import ChannelOpener


async def test_cancelled_request_leaves_the_opening_to_others() -> None:
    async def open_all(channels: list[str]) -> None:
        for channel in channels:
            opener.finish(channel)

    opener = ChannelOpener(open_all)
    cancelled, other = (asyncio.create_task(opener.open("job.7")) for _ in range(2))
    await asyncio.sleep(0)  # both wait for the opening
    cancelled.cancel()
    await asyncio.wait([cancelled])
    async with Supervisor() as tasks:
        tasks.run("channel opener", opener.run)
        (outcome,) = await asyncio.gather(other, return_exceptions=True)
    assert outcome is None
