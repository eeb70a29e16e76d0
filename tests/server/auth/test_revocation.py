"""Tests of revocation on all servers, for connections, channels, polls and tokens."""

import asyncio
import time

import pytest

from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model.channel import CONTROL
from realtime_bridge.server.auth.revocations import KEPT_SECONDS, Revocation
from realtime_bridge.server.auth.tokens import Tokens
from realtime_bridge_backends.memory import MemoryBackend
from tests.server.harness import SECRET, Serve, Site, until


@pytest.fixture
async def nodes(serve: Serve) -> tuple[Site, Site]:
    """Return two servers that share a log."""
    log = MemoryBackend()
    return await serve(with_log=log), await serve(with_log=log)


def has_revocation(site: Site, **revoked: str | None) -> bool:
    return Revocation(**{"user": None, "channel": None, **revoked}) in (
        site.context.connections.access.revocations
    )


async def test_revoked_user_is_disconnected_on_all_servers(nodes: tuple[Site, Site]) -> None:
    here, there = nodes
    clients = [await site.connect("42") for site in nodes]
    other = await there.connect("43")
    await here.bridge.revoke(user="42")
    assert [await client.closed() for client in clients] == [(4403, "access was revoked")] * 2
    await other.ping()


async def test_only_tokens_from_before_revocation_are_rejected(serve: Serve) -> None:
    log = MemoryBackend()
    nodes = [await serve(with_log=log, authenticate=lambda _: "42") for _ in "ab"]
    here, there = nodes
    old = here.token("42")
    await here.bridge.revoke(user="42")
    await until(lambda: all(has_revocation(site, user="42") for site in nodes))
    client = await there.open()
    await client.send("connect", token=old, nonce="n", version=1)
    assert (await client.closed())[0] == 4401
    bearer = {"authorization": f"Bearer {old}"}
    status, answer = await there.post("poll", {"positions": {}}, **bearer)
    assert (status, answer["error"]["code"]) == (401, "revoked")
    for site in nodes:
        status, descriptor = await site.post("connect", {})
        assert status == 200
        for other in nodes:
            await (await other.open()).introduce(descriptor["token"])


async def test_revoked_channel_leaves_other_subscriptions(
    nodes: tuple[Site, Site],
) -> None:
    here, there = nodes
    client = await there.connect("42")
    for channel in ("job.7", "job.8"):
        await client.subscribe(channel)
    await here.bridge.revoke(channel="job.7")
    refused = await client.expect("refused")
    assert (refused["channel"], refused["code"]) == ("job.7", 403)
    await here.bridge.publish("job.7", "job.step")
    await here.bridge.publish("job.8", "job.step")
    assert (await client.expect("event"))["channel"] == "job.8"


async def test_revocation_of_user_and_channel_affects_no_one_else(site: Site) -> None:
    leaving, staying = await site.connect("42"), await site.connect("43")
    for client in (leaving, staying):
        await client.subscribe("job.7")
    await site.bridge.revoke(user="42", channel="job.7")
    assert (await leaving.expect("refused"))["channel"] == "job.7"
    await site.bridge.publish("job.7", "job.step")
    await staying.expect("event")
    await leaving.send("subscribe", channel="job.7")
    assert (await leaving.expect("refused"))["code"] == 403


async def test_long_poll_returns_nothing_after_revocation(site: Site) -> None:
    start = (await site.poll({"job.7": None}))[1]["channels"]["job.7"]["position"]
    pending_poll = asyncio.create_task(site.poll({"job.7": start}, wait=20))
    fanouts = site.context.hub.fanouts
    await until(lambda: "job.7" in fanouts and fanouts["job.7"].in_use)
    await site.bridge.publish_many([Revocation(user="42", channel=None).event()])
    await site.bridge.publish("job.7", "job.secret")
    assert (await pending_poll)[1]["channels"]["job.7"]["error"]["code"] == 403


async def test_later_server_reads_earlier_revocations(serve: Serve) -> None:
    log = MemoryBackend()
    old = Tokens(SECRET, issuer="realtime").issue("42")
    await log.append([Revocation(user="42", channel=None).event()])
    site = await serve(with_log=log)
    await until(lambda: has_revocation(site, user="42"))
    bearer = {"authorization": f"Bearer {old}"}
    assert (await site.post("poll", {"positions": {}}, **bearer))[0] == 401


async def test_revocation_that_the_log_has_forgotten_is_dropped(site: Site) -> None:
    revocations = site.context.connections.access.revocations
    forgotten = round(time.time() - KEPT_SECONDS - 60) * 1_000
    revocations.add_event({"user": "42", "channel": None}, forgotten)
    await site.bridge.revoke(user="43")
    await until(lambda: has_revocation(site, user="43"))
    assert not has_revocation(site, user="42")


async def test_control_channel_is_forbidden_to_clients(site: Site) -> None:
    client = await site.connect("42", "*")
    await client.send("subscribe", channel=CONTROL)
    assert (await client.expect("refused"))["code"] == 403


async def test_revoke_without_user_and_channel_is_rejected(site: Site) -> None:
    with pytest.raises(ConfigurationError, match="a user, a channel, or both"):
        await site.bridge.revoke()
