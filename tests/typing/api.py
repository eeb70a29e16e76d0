"""Typical use of the public names, read by mypy and pyright and never run."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, assert_type

from realtime_bridge import BlockingBroadcaster, Broadcaster, Event, Position, Receipt
from realtime_bridge.client import ChannelDenied, ChannelReset, HybridClient
from realtime_bridge.integrations.tasks import current_job
from realtime_bridge.jobs.blocking_job import BlockingJob
from realtime_bridge.server import Bridge, Principal, Request
from realtime_bridge.testing import FaultyProxy


async def publish(broadcaster: Broadcaster) -> None:
    async with Broadcaster.from_env() as opened:
        assert_type(opened, Broadcaster)
    receipt = await broadcaster.publish("user-42", "job.progress", {"percent": 30}, key="job-7")
    assert_type(receipt, Receipt)
    assert_type(receipt.id, str)
    assert_type(receipt.position, Position | None)
    assert_type(receipt.duplicate, bool)
    events = [Event(channel="user-42", event="job.progress", data=[1])]
    assert_type(await broadcaster.publish_many(events), list[Receipt])


def publish_from_a_worker(transaction: object) -> None:
    with BlockingBroadcaster.from_env() as broadcaster:
        assert_type(broadcaster, BlockingBroadcaster)
        assert_type(
            broadcaster.publish("user-42", "job.completed", transaction=transaction), Receipt
        )
        assert_type(broadcaster.publish_many([]), list[Receipt])


def report_a_job(broadcaster: BlockingBroadcaster, chunks: list[bytes]) -> None:
    with broadcaster.job("user-42", id="7", title="Transcribe call.mp3") as job:
        job.progress(0.05, "Downloading", stage="download")
        assert_type(job.id, str)
        assert_type(job.track(chunks, total=3), Iterator[bytes])


def report_in_a_task() -> None:
    assert_type(current_job(), BlockingJob)
    current_job().progress(0.5, "Half way")


async def report_an_async_job(broadcaster: Broadcaster, bridge: Bridge) -> None:
    async with broadcaster.job("user-42") as job:
        assert_type(job.track([b""]), AsyncIterator[bytes])
    async with bridge.job("user-42", title="Import") as job:
        job.progress(message="Almost done")


async def current_user(request: Request) -> Principal | None:
    user = request.cookies.get("session")
    return Principal(user=user) if user else None


async def serve() -> None:
    bridge = Bridge.from_env(authenticate=current_user, dev=True)
    assert_type(bridge, Bridge)

    @bridge.channel("job.{job_id}")
    async def may_watch(user: str, job_id: str) -> bool:
        return user == job_id

    assert_type(await may_watch("42", "7"), bool)
    async with bridge:
        assert_type(await bridge.publish("user-42", "greeting"), Receipt)
        assert_type(await bridge.position("user-42"), Position)
        await bridge.revoke(user="42")


async def listen(token: str) -> None:
    positions: dict[str, Position | None] = {"user-42": Position.parse("k3v9q2wz:124")}
    async with HybridClient("https://example.com/realtime", positions, token=token) as client:
        assert_type(client, HybridClient)
        async for item in client:
            if isinstance(item, ChannelReset):
                assert_type(item.channel, str)
                assert_type(item.position, Position | None)
            elif isinstance(item, ChannelDenied):
                assert_type(item.message, str)
            else:
                assert_type(item, Event)
                assert_type(item.event, str)
                assert_type(item.data, Any)


async def cut_the_network(proxy: FaultyProxy) -> None:
    assert_type(proxy, FaultyProxy)
