"""Attacks on the channels on which servers announce their changes."""

from typing import Any

import orjson
import pytest

from realtime_bridge import Broadcaster, Event, InvalidEventError
from realtime_bridge.model.channel import CONTROL
from realtime_bridge.publishing.failover import CHANNEL as FAILOVER
from realtime_bridge.publishing.failover import Failover, FailoverTarget
from realtime_bridge.server.auth.revocations import EVENT, Revocation
from realtime_bridge_backends.memory import MemoryBackend
from tests.server.harness import Serve, Site, until

INTERNAL = [CONTROL, FAILOVER, f"{CONTROL}.of.a.later.version", f"{CONTROL}-x"]
REVOKE_ALL = {"user": "42", "channel": None}
MALFORMED: list[Any] = [
    None,
    "odd",
    5,
    [],
    {},
    {"user": None, "channel": None},
    {"user": "", "channel": ""},
    {"user": 42, "channel": None},
    {"user": ["42"], "channel": None},
    {"user": {"id": 42}},
    {"channel": 7},
]


@pytest.mark.parametrize("channel", INTERNAL)
async def test_application_cannot_publish_on_an_internal_channel(site: Site, channel: str) -> None:
    client = await site.connect("42")
    with pytest.raises(InvalidEventError, match="@realtime"):
        Event(channel=channel, event=EVENT, data=REVOKE_ALL)
    with pytest.raises(InvalidEventError):
        await site.bridge.publish(channel, EVENT, REVOKE_ALL, key="k")
    with pytest.raises(InvalidEventError):
        site.bridge.job(channel)
    async with Broadcaster(log=MemoryBackend()) as broadcaster:
        with pytest.raises(InvalidEventError):
            await broadcaster.publish(channel, EVENT, REVOKE_ALL)
    await client.ping()


@pytest.mark.parametrize("channel", INTERNAL)
async def test_call_cannot_publish_on_an_internal_channel(site: Site, channel: str) -> None:
    client, worker = await site.connect("42"), await site.worker()
    events = [{"channel": channel, "event": EVENT, "data": REVOKE_ALL, "key": "k"}]
    status, answer = await site.publish({"events": events})
    assert (status, answer["error"]["code"]) == (400, "invalid_event")
    await worker.send(orjson.dumps({"call": "append", "number": 1, "events": events}).decode())
    assert orjson.loads(await worker.recv())["error"]["invalid"]
    await client.ping()
    assert (await site.bridge.position(channel)).offset == 0


@pytest.mark.parametrize("data", MALFORMED, ids=str)
async def test_malformed_revocation_is_ignored_at_the_start_and_later(
    serve: Serve, data: Any, caplog: pytest.LogCaptureFixture
) -> None:
    log = MemoryBackend()
    stored = [
        Event.internal(CONTROL, EVENT, orjson.dumps(data), key="odd"),
        Revocation(user="43", channel=None).event(),
    ]
    await log.append(stored)
    site = await serve(with_log=log)
    revocations = site.context.connections.access.revocations
    await until(lambda: Revocation(user="43", channel=None) in revocations)
    async with site.http.get(f"{site.url}/health/ready") as ready:
        assert ready.status == 200
    client = await site.connect("42")
    await log.append([Event.internal(CONTROL, EVENT, orjson.dumps(data), key="later")])
    await site.bridge.revoke(user="44")
    await until(lambda: Revocation(user="44", channel=None) in revocations)
    await client.ping()
    assert caplog.text.count("malformed revocation ignored") == 2
    assert "restarting" not in caplog.text


@pytest.mark.parametrize("data", ["odd", {}, {"backend": None}, {"backend": ["b"]}, 5], ids=str)
async def test_malformed_record_of_the_active_target_is_ignored(
    data: Any, caplog: pytest.LogCaptureFixture
) -> None:
    log = MemoryBackend()
    await log.append([Event.internal(FAILOVER, "moved", orjson.dumps(data), key="backend")])
    failover = Failover([FailoverTarget("a", None), FailoverTarget("b", None)], log)
    async with Broadcaster(log=log, backend=failover) as broadcaster:
        receipt = await broadcaster.publish("job.7", "job.step")
    assert receipt.pushed
    assert failover.active.name == "a"
    assert caplog.text.count("record of the active push target ignored") == 1
