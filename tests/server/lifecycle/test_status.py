"""Status messages: clients poll while the pushed events may be incomplete."""

import pytest

from realtime_bridge.backend.feed import FeedInterrupted
from realtime_bridge.errors import BackendUnavailableError
from realtime_bridge.server.fanout.hub import Hub
from realtime_bridge.server.timing import ServerTiming
from tests.server.fakes import FakeBackend
from tests.server.harness import Serve, Site, until

DOWN, UP = {"log": "down", "backend": "ok"}, {"log": "ok", "backend": "ok"}


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
async def site(serve: Serve, backend: FakeBackend) -> Site:
    return await serve(with_log=backend, timing=ServerTiming(restart=0.005))


async def interrupt(hub: Hub, backend: FakeBackend) -> None:
    backend.fails = BackendUnavailableError("It is away")
    backend.announce(FeedInterrupted())
    await until(lambda: not hub.healthy)


async def test_clients_learn_that_the_log_is_down_and_up_again(
    site: Site, backend: FakeBackend
) -> None:
    client = await site.connect()
    await client.subscribe("job.7")
    await interrupt(site.context.hub, backend)
    assert await client.expect("status") == {"type": "status"} | DOWN
    backend.fails = None
    assert await client.expect("status") == {"type": "status"} | UP


async def test_new_client_receives_the_status_in_its_welcome(
    site: Site, backend: FakeBackend
) -> None:
    await (await site.connect()).subscribe("job.7")
    await interrupt(site.context.hub, backend)
    late = await site.open()
    assert (await late.introduce(site.token()))["log"] == "down"
    backend.fails = None
    assert (await late.expect("status"))["log"] == "ok"


async def test_clients_learn_that_the_feed_broke(site: Site, backend: FakeBackend) -> None:
    client = await site.connect()
    backend.announce(ConnectionResetError("the feed is gone"))
    assert (await client.expect("status"))["log"] == "down"
    assert (await client.expect("status"))["log"] == "ok"


async def test_poll_has_the_status_that_sockets_receive(site: Site) -> None:
    assert (await site.poll({}))[1]["status"] == UP
