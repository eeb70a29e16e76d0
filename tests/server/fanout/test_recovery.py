"""After a drop a client gets what it missed: exactly that, or a reset."""

import asyncio
from typing import Any

import pytest

from tests.server.harness import Serve, Site, collect, position_of

CHANNEL = "job.7"


class TestRecovery:
    async def test_after_a_drop_exactly_the_missed_events_come(self, site: Site) -> None:
        client = await site.connect()
        await client.subscribe(CHANNEL)
        await site.fill(CHANNEL, range(3))
        last = (await client.events(3))[-1]
        client.socket.transport.abort()
        await site.fill(CHANNEL, range(3, 6))
        client = await site.connect()
        subscribed = await client.subscribe(CHANNEL, position_of(last))
        assert subscribed["recovered"] is True
        assert [event["data"] for event in subscribed["events"]] == [3, 4, 5]
        await site.fill(CHANNEL, [6])
        assert [event["data"] for event in await client.events(1)] == [6]

    async def test_an_empty_channel_has_a_position_to_recover_from(self, site: Site) -> None:
        client = await site.connect()
        before = await client.subscribe(CHANNEL)
        client.socket.transport.abort()
        await site.fill(CHANNEL, [1])
        client = await site.connect()
        subscribed = await client.subscribe(CHANNEL, {"epoch": before["epoch"], "offset": 0})
        assert [event["data"] for event in subscribed["events"]] == [1]

    async def test_long_absence_is_recovered_in_pages_during_a_stream(self, serve: Serve) -> None:
        site = await serve(history_events=5_000)
        epoch = (await site.bridge.publish(CHANNEL, "job.step", 1)).position
        assert epoch
        await site.fill(CHANNEL, range(2, 1_301))
        client = await site.connect()
        first = await client.subscribe(CHANNEL, {"epoch": epoch.epoch, "offset": 0})
        assert (len(first["events"]), first["more"]) == (500, True)
        publishing = asyncio.create_task(self._publish_slowly(site, 300))
        assert await collect(client, CHANNEL, first, 1_600) == [*range(1, 1_601)]
        await publishing

    async def _publish_slowly(self, site: Site, count: int) -> None:
        for number in range(count):
            await site.bridge.publish(CHANNEL, "job.step", number)
            await asyncio.sleep(0)

    @pytest.mark.parametrize(
        ("position", "reason"),
        [
            ({"epoch": "zzzzzzzz", "offset": 2}, "epoch"),
            ({"offset": 9}, "ahead"),
            ({"offset": 4, "id": "another"}, "regressed"),
            ({"offset": 0}, "truncated"),
        ],
    )
    async def test_position_that_cannot_continue_is_reset(
        self, serve: Serve, position: dict[str, Any], reason: str
    ) -> None:
        site = await serve(history_events=3)
        await site.fill(CHANNEL, range(5))
        client = await site.connect()
        top = await client.subscribe(CHANNEL)
        here = {"epoch": top["epoch"], **position}
        await client.send("subscribe", channel=CHANNEL, position=here)
        reset = await client.expect("reset")
        assert (reset["reason"], reset["offset"]) == (reason, 5)
        assert (await client.expect("subscribed"))["recovered"] is False
        await site.fill(CHANNEL, [5])
        assert (await client.expect("event"))["offset"] == 6

    async def test_connections_cut_at_random_moments_lose_nothing(self, serve: Serve) -> None:
        site = await serve(history_events=5_000)
        client = await site.connect()
        here = await client.subscribe(CHANNEL)
        publishing = asyncio.create_task(self._publish_slowly(site, 2_000))
        got: list[int] = []
        while len(got) < 2_000:
            for _ in range(100):
                frame = await client.receive()
                if frame["type"] == "event":
                    here = frame
                    got.append(frame["offset"])
                if len(got) == 2_000:
                    break
            client.socket.transport.abort()
            client = await site.connect()
            here = await client.subscribe(CHANNEL, position_of(here))
            got += [event["offset"] for event in here["events"]]
        await publishing
        assert got == [*range(1, 2_001)]
