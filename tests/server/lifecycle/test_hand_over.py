"""Server that was cut off from its log: its clients are sent to other servers."""

import asyncio

import pytest
from websockets.exceptions import InvalidStatus

from realtime_bridge.backend.feed import FeedInterrupted
from realtime_bridge.errors import BackendUnavailableError
from realtime_bridge.protocol.session.timing import SessionTiming
from realtime_bridge.server.timing import ServerTiming
from tests.server.fakes import FakeBackend
from tests.server.harness import TIMEOUT, Frame, Serve, Site, until

QUICK = ServerTiming(restart=0.005, hand_over=0.02)
PATIENT = ServerTiming(restart=0.005, hand_over=TIMEOUT, session=SessionTiming(heartbeat=0.05))


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


async def cut_off(site: Site, backend: FakeBackend) -> None:
    backend.fails = BackendUnavailableError("It is away")
    backend.announce(FeedInterrupted())
    await until(lambda: not site.context.hub.healthy)


async def refused_upgrade(site: Site) -> tuple[int, str | None]:
    with pytest.raises(InvalidStatus) as caught:
        await site.open()
    response = caught.value.response
    return response.status_code, response.headers.get("retry-after")


async def refused_stream(site: Site) -> tuple[int, str | None, Frame]:
    headers = {"authorization": f"Bearer {site.token()}"}
    async with site.http.post(f"{site.url}/sse", json={"positions": {}}, headers=headers) as answer:
        return answer.status, answer.headers.get("retry-after"), await answer.json()


async def plain_stream_body(site: Site) -> list[str]:
    """Return the beginnings of the lines of a stream that ends at once."""
    async with site.http.get(f"{site.url}/sse?channel=job.7") as answer:
        assert answer.status == 200
        retry, comment, _, _ = (await answer.text()).split("\n")
        return [retry.partition(":")[0], comment.rpartition(": ")[0]]


async def test_clients_are_asked_once_to_connect_elsewhere(
    serve: Serve, backend: FakeBackend
) -> None:
    site = await serve(with_log=backend, timing=QUICK)
    client = await site.connect()
    await client.subscribe("job.7")
    await cut_off(site, backend)
    assert (await client.expect("status"))["log"] == "down"
    assert await client.expect("drain") == {"type": "drain", "after": 0, "window": 2.0}
    await asyncio.sleep(10 * QUICK.hand_over)
    await client.send("ping", nonce="p")
    await client.expect("pong")


async def test_new_connections_are_refused_until_the_log_answers(
    serve: Serve, backend: FakeBackend
) -> None:
    site = await serve(with_log=backend, timing=QUICK)
    client = await site.connect()
    await client.subscribe("job.7")
    await cut_off(site, backend)
    await client.skip_to("drain")
    assert await refused_upgrade(site) == (503, "1")
    status, retry_after, fields = await refused_stream(site)
    assert (status, retry_after, fields["error"]["code"]) == (503, "1", "log_unavailable")
    assert await plain_stream_body(site) == ["retry", ": This server does not reach its log"]
    backend.fails = None
    assert (await client.expect("status"))["log"] == "ok"
    await (await site.connect()).subscribe("job.7")


async def test_server_whose_feed_never_connected_accepts_no_client(
    serve: Serve, backend: FakeBackend
) -> None:
    backend.pause = asyncio.Event().wait  # type: ignore[assignment]  # its result does not matter
    timing = ServerTiming(start=0.01, restart=0.005, hand_over=0.02)
    site = await serve(with_log=backend, timing=timing)
    await until(lambda: site.context.status.is_cut_off)
    assert await refused_upgrade(site) == (503, "1")


async def test_short_outage_keeps_all_clients(serve: Serve, backend: FakeBackend) -> None:
    site = await serve(with_log=backend, timing=PATIENT)
    client = await site.connect()
    await client.subscribe("job.7")
    await cut_off(site, backend)
    assert (await client.expect("status"))["log"] == "down"
    backend.fails = None
    await client.skip_to("status")
    await site.connect()


async def test_heartbeats_and_welcomes_repeat_the_health(
    serve: Serve, backend: FakeBackend
) -> None:
    site = await serve(with_log=backend, timing=PATIENT)
    client = await site.connect()
    await client.subscribe("job.7")
    assert (await client.skip_to("heartbeat"))["log"] == "ok"
    await cut_off(site, backend)
    await client.skip_to("status")
    heartbeat = await client.skip_to("heartbeat")
    assert (heartbeat["log"], heartbeat["backend"]) == ("down", "ok")
    late = await site.open()
    welcome = await late.introduce(site.token())
    assert (welcome["log"], welcome["backend"]) == ("down", "ok")
    assert abs(welcome["time"] - heartbeat["time"]) < 1_000 * TIMEOUT
