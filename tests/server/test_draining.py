"""A server that stops sends its clients away, one by one, and takes no new ones."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from realtime_bridge.server.lifecycle.signals import drained_first
from tests.server.harness import TIMEOUT, Client, Serve, Site, until


async def draining(site: Site) -> asyncio.Task[None]:
    task = asyncio.create_task(site.bridge.drain())
    await until(lambda: site.context.registry.draining)
    return task


async def told(client: Client) -> tuple[float, float]:
    frame = await client.skip_to("drain")
    return frame["after"], frame["window"]


async def test_each_client_is_told_its_own_moment_and_closed_when_it_is_over(site: Site) -> None:
    clients = [await site.connect(str(number)) for number in range(4)]
    drain = await draining(site)
    afters = sorted([(await told(client))[0] for client in clients])
    assert afters == [0, 0.5, 1, 1.5]
    codes = [(await client.closed())[0] for client in clients]
    assert codes == [1012] * 4
    await drain


async def test_it_is_over_as_soon_as_all_have_gone(site: Site) -> None:
    client = await site.connect()
    drain = await draining(site)
    await told(client)
    await client.socket.close()
    async with asyncio.timeout(1):
        await drain


async def test_without_clients_it_is_over_at_once(site: Site) -> None:
    async with asyncio.timeout(1):
        await site.bridge.drain()


async def test_clients_hear_events_until_they_leave(site: Site) -> None:
    client = await site.connect()
    await client.subscribe("job.7")
    drain = await draining(site)
    await told(client)
    await site.bridge.publish("job.7", "job.step", 1)
    assert (await client.expect("event"))["data"] == 1
    await client.closed()
    await drain


async def test_new_sockets_and_streams_are_refused_for_now_and_polls_are_answered(
    serve: Serve,
) -> None:
    site = await serve(dev=True)
    keeper = await site.connect()
    drain = await draining(site)
    upgrade = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    upgrade["sec-websocket-key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    async with site.http.get(f"{site.url}/ws", headers=upgrade) as answer:
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    bearer = {"authorization": f"Bearer {site.token()}"}
    assert (await site.post("sse", {"positions": {}}, **bearer))[0] == 503
    assert (await site.poll({"job.7": None}))[0] == 200
    async with site.http.get(f"{site.url}/health/ready") as answer:
        assert (answer.status, (await answer.json())["status"]) == (503, "draining")
    async with site.http.get(f"{site.url}/health/live") as answer:
        assert answer.status == 200
    await keeper.socket.close()
    await drain


async def test_a_long_poll_ends_with_its_slot_and_later_ones_do_not_wait(site: Site) -> None:
    start = (await site.poll({"job.7": None}))[1]["channels"]["job.7"]["position"]
    waiting = asyncio.create_task(site.poll({"job.7": start}, wait=20))
    await until(lambda: site.context.registry)
    drain = await draining(site)
    async with asyncio.timeout(TIMEOUT / 2):
        assert (await waiting)[0] == 200
        assert (await site.poll({"job.7": start}, wait=20))[0] == 200
    await drain


async def test_who_has_not_introduced_itself_is_closed_without_a_word(site: Site) -> None:
    client = await site.open()
    drain = await draining(site)
    assert await client.closed() == (1012, "the server restarts")
    await drain


class TestTheSignal:
    @pytest.fixture
    def passed_on(self) -> Iterator[list[int]]:
        """Stand for the server, and note the signals that it gets."""
        got: list[int] = []
        before = signal.signal(signal.SIGTERM, lambda number, _: got.append(number))
        yield got
        signal.signal(signal.SIGTERM, before)

    @pytest.fixture
    async def drained(
        self, passed_on: list[int]
    ) -> AsyncIterator[tuple[asyncio.Event, Callable[[], object]]]:
        begun, may_end = asyncio.Event(), asyncio.Event()

        async def drain() -> None:
            begun.set()
            await may_end.wait()

        with drained_first(drain):
            yield begun, may_end.set

    async def test_it_reaches_the_server_once_the_clients_are_gone(
        self, passed_on: list[int], drained: tuple[asyncio.Event, Callable[[], object]]
    ) -> None:
        begun, finish = drained
        os.kill(os.getpid(), signal.SIGTERM)
        await begun.wait()
        assert passed_on == []
        finish()
        await until(lambda: passed_on == [signal.SIGTERM])

    async def test_a_second_one_is_passed_on_at_once(
        self, passed_on: list[int], drained: tuple[asyncio.Event, Callable[[], object]]
    ) -> None:
        begun, _ = drained
        os.kill(os.getpid(), signal.SIGTERM)
        await begun.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: passed_on == [signal.SIGTERM])

    async def test_where_nobody_handles_it_nothing_is_changed(self) -> None:
        before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            with drained_first(asyncio.Event().wait):  # type: ignore[arg-type]  # never called
                assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        finally:
            signal.signal(signal.SIGTERM, before)

    async def test_when_it_is_over_the_server_has_its_handler_back(
        self, passed_on: list[int]
    ) -> None:
        async def drain() -> None:
            raise AssertionError

        with drained_first(drain):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: passed_on == [signal.SIGTERM])
