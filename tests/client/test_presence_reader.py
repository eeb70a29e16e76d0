"""Readers of members: each transport, drops, a server that loses its log, and denials."""

import pytest

from realtime_bridge import ConfigurationError
from realtime_bridge.client import DeniedError, PresenceReader, open_presence
from realtime_bridge.model.channel import presence_channel
from realtime_bridge.testing import FaultyProxy
from tests.client.members import until
from tests.client.servers import Client, Server, serving, token

CHANNEL = "user-ada"
NAME = presence_channel(CHANNEL)

every_transport = pytest.mark.parametrize("transport", ["websocket", "sse", "poll"])


def reader(url: str, user: str, transport: str = "auto") -> PresenceReader:
    bearer = token(user, channels=["*"])
    return PresenceReader(Client(url, [NAME], token=bearer, transport=transport), NAME)


@every_transport
async def test_members_are_the_same_on_each_transport(url: str, transport: str) -> None:
    async with reader(url, "ada") as ada:
        await until(ada, "ada")
        async with reader(url, "bob", transport) as bob:
            assert await until(ada, "ada", "bob") == [("joined", "bob")]
            await until(bob, "ada", "bob")


async def test_drop_is_no_departure(url: str, proxy: FaultyProxy) -> None:
    async with reader(url, "ada") as ada, reader(url, "bob") as bob:
        await until(ada, "ada", "bob")
        await until(bob, "ada", "bob")
        proxy.drop()
        async with reader(url, "cyd"):
            assert await until(ada, "ada", "bob", "cyd") == [("joined", "cyd")]


async def test_members_return_after_the_log_was_lost(url: str, server: Server) -> None:
    async with reader(url, "ada") as ada:
        await until(ada, "ada")
        port = server.port
        await server.stop()
        async with serving(port=port), reader(url, "bob"):
            changes = await until(ada, "ada", "bob")
            assert ("joined", "bob") in changes


async def test_denied_channel_raises(url: str) -> None:
    stranger = Client(url, [NAME], token=token("eve"))
    with pytest.raises(DeniedError, match="may not listen"):
        await PresenceReader(stranger, NAME).__aenter__()


@pytest.mark.parametrize("channel", ["a b", "@realtime", "x" * 110])
def test_bad_channel_is_named(channel: str) -> None:
    with pytest.raises(ConfigurationError, match="No presence on"):
        open_presence("http://localhost/realtime", channel, token="t")
