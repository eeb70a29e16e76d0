"""Sockets of Pusher's clients that the application signed without a user."""

import asyncio

from realtime_bridge.server.pusher.door import SIGNED_USERS_PER_ADDRESS
from tests.server.harness import Serve, Site, until
from tests.server.pusher.clients import PusherClient, connect_pusher

AT_ONCE = 25
"""Sockets that connect at once: fewer than one address may have without a signature."""


async def sign(site: Site) -> PusherClient:
    """Connect, and subscribe to a channel that the application signs."""
    client = await connect_pusher(site)
    await client.subscribe("private-a")
    return client


async def test_signed_sockets_without_a_user_are_limited_by_address(serve: Serve) -> None:
    site = await serve(pusher_door=True, limit_connections_per_user=1)
    signed: list[PusherClient] = []
    while len(signed) < SIGNED_USERS_PER_ADDRESS:
        signed += await asyncio.gather(*(sign(site) for _ in range(AT_ONCE)))
    late = await connect_pusher(site)
    refusal = await late.refused("private-a")
    assert (refusal["type"], refusal["status"]) == ("LimitReached", 4004)
    assert "sign in" in refusal["error"]
    # Another channel of a socket that counts, a public one, and another address take no place.
    await signed[0].subscribe("private-b")
    await late.subscribe("news")
    elsewhere = await connect_pusher(site, additional_headers={"x-forwarded-for": "192.0.2.7"})
    await elsewhere.subscribe("private-a")
    # A user counts among that user's connections, and a socket that ends gives its place back.
    await signed[0].sign_in("ada")
    await late.subscribe("private-a")
    last = await connect_pusher(site)
    assert (await last.refused("private-a"))["status"] == 4004
    connections = len(site.context.connections.registry)
    await signed[1].socket.close()
    await until(lambda: len(site.context.connections.registry) < connections)
    await last.subscribe("private-a")
    # A presence channel names a user too.
    await signed[2].enter("presence-a", "bob")
    await sign(site)
