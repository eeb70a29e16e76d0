"""Tests of draining: slots of the clients, rejected connections, and signals."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator

import pytest

from realtime_bridge.backend.supervisor import Supervisor
from realtime_bridge.server.lifecycle.signals import drained_first
from tests.server.harness import TIMEOUT, Client, Serve, Site, until


async def start_drain(site: Site) -> asyncio.Task[None]:
    task = asyncio.create_task(site.bridge.drain())
    await until(lambda: site.context.registry.draining)
    return task


async def drain_notice(client: Client) -> tuple[float, float]:
    frame = await client.skip_to("drain")
    return frame["after"], frame["window"]


async def test_each_client_gets_its_own_slot_and_is_closed_after_it(site: Site) -> None:
    clients = [await site.connect(str(number)) for number in range(4)]
    drain = await start_drain(site)
    afters = sorted([(await drain_notice(client))[0] for client in clients])
    assert afters == [0, 0.5, 1, 1.5]
    codes = [(await client.closed())[0] for client in clients]
    assert codes == [1012] * 4
    await drain


async def test_drain_ends_when_the_last_client_disconnects(site: Site) -> None:
    client = await site.connect()
    drain = await start_drain(site)
    await drain_notice(client)
    await client.socket.close()
    async with asyncio.timeout(1):
        await drain


async def test_drain_without_clients_ends_at_once(site: Site) -> None:
    async with asyncio.timeout(1):
        await site.bridge.drain()


async def test_clients_receive_events_during_drain(site: Site) -> None:
    client = await site.connect()
    await client.subscribe("job.7")
    drain = await start_drain(site)
    await drain_notice(client)
    await site.bridge.publish("job.7", "job.step", 1)
    assert (await client.expect("event"))["data"] == 1
    await client.closed()
    await drain


async def test_drain_rejects_connections_and_answers_polls(
    serve: Serve,
) -> None:
    site = await serve(dev=True)
    client = await site.connect()
    drain = await start_drain(site)
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
    await client.socket.close()
    await drain


async def test_drain_ends_long_polls_and_later_polls_do_not_wait(site: Site) -> None:
    start = (await site.poll({"job.7": None}))[1]["channels"]["job.7"]["position"]
    pending_poll = asyncio.create_task(site.poll({"job.7": start}, wait=20))
    await until(lambda: site.context.registry)
    drain = await start_drain(site)
    async with asyncio.timeout(TIMEOUT / 2):
        assert (await pending_poll)[0] == 200
        assert (await site.poll({"job.7": start}, wait=20))[0] == 200
    await drain


async def test_drain_closes_unauthenticated_socket_without_notice(site: Site) -> None:
    client = await site.open()
    drain = await start_drain(site)
    assert await client.closed() == (1012, "the server restarts")
    await drain


class Control:
    """Drain that a test ends, and the signals that the server's own handlers got."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self.started, self.may_end = asyncio.Event(), asyncio.Event()
        self.closed = 0

    async def drain(self) -> None:
        self.started.set()
        await self.may_end.wait()

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
class TestSignals:
    @pytest.fixture
    def idle(self) -> Iterator[Control]:
        """Install handlers in place of the server's, which record their signals."""
        control = Control()
        before = {
            number: signal.signal(number, lambda number, _: control.received.append(number))
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        yield control
        for number, handler in before.items():
            signal.signal(number, handler)

    @pytest.fixture
    async def control(self, idle: Control) -> AsyncIterator[Control]:
        async with Supervisor() as tasks:
            with drained_first(idle.drain, idle.close, tasks):
                yield idle

    async def test_signal_reaches_the_server_after_the_drain(
        self, control: Control, number: signal.Signals
    ) -> None:
        os.kill(os.getpid(), number)
        await control.started.wait()
        assert control.received == []
        control.may_end.set()
        await until(lambda: control.received == [number])
        assert control.closed == 0

    async def test_second_signal_closes_all_and_is_passed_on_at_once(
        self, control: Control, number: signal.Signals
    ) -> None:
        os.kill(os.getpid(), number)
        await control.started.wait()
        os.kill(os.getpid(), number)
        await until(lambda: control.received == [number] and control.closed)

    async def test_ctrl_c_of_a_group_and_the_sigterm_of_the_parent_are_one_stop(
        self, control: Control, number: signal.Signals
    ) -> None:
        other = signal.SIGINT if number == signal.SIGTERM else signal.SIGTERM
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), other)
        await control.started.wait()
        assert (control.received, control.closed) == ([], 0)

    async def test_default_handler_is_not_replaced(self, number: signal.Signals) -> None:
        before = signal.signal(number, signal.SIG_DFL)
        try:
            with drained_first(asyncio.Event().wait, lambda: None, Supervisor()):  # type: ignore[arg-type]  # never called
                assert signal.getsignal(number) is signal.SIG_DFL
        finally:
            signal.signal(number, before)

    async def test_previous_handler_is_restored_afterwards(
        self, idle: Control, number: signal.Signals
    ) -> None:
        with drained_first(idle.drain, idle.close, Supervisor()):
            pass
        os.kill(os.getpid(), number)
        await until(lambda: idle.received == [number])
