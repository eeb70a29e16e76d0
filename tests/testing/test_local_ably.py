"""The local Ably is one for the official SDKs: in Python and in Node, in JSON and in msgpack."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest
import pytest_asyncio
from ably import AblyException, AblyRealtime, AblyRest
from ably.types.message import Message

from realtime_bridge.testing.providers import LocalAbly
from realtime_bridge.testing.providers.ably_keys import AppState
from tests.testing.node_ably import NodeAbly

FORMATS = pytest.mark.parametrize("binary", [False, True], ids=["json", "msgpack"])

Received = asyncio.Queue[Any]


@pytest_asyncio.fixture
async def ably() -> AsyncIterator[LocalAbly]:
    async with LocalAbly() as ably:
        yield ably


@asynccontextmanager
async def rest(ably: LocalAbly, **options: Any) -> AsyncIterator[AblyRest]:
    chosen = options or {"key": ably.key, "use_token_auth": True}
    async with AblyRest(endpoint="127.0.0.1", port=ably.port, tls=False, **chosen) as client:
        yield client


@asynccontextmanager
async def realtime(ably: LocalAbly, *, binary: bool = False, **options: Any) -> AsyncIterator[Any]:
    credentials = options or {"key": ably.key}
    client = AblyRealtime(
        endpoint=f"127.0.0.1:{ably.port}", tls=False, use_binary_protocol=binary, **credentials
    )
    try:
        yield client
    finally:
        await client.close()


async def listening(client: Any, name: str = "job.7") -> Received:
    received: Received = asyncio.Queue()
    await client.channels.get(name).subscribe(received.put_nowait)
    return received


async def soon(waiting: Awaitable[Any]) -> Any:
    async with asyncio.timeout(15):
        return await waiting


def token(ably: LocalAbly, *, seconds: float = 600, capability: str = "") -> str:
    name, _, secret = ably.key.partition(":")
    about: dict[str, Any] = {"iat": int(time.time()), "exp": time.time() + seconds}
    about |= {"x-ably-capability": capability} if capability else {}
    return jwt.encode(about, secret, "HS256", headers={"kid": name})


async def refused(calling: Awaitable[Any]) -> tuple[int, int]:
    with pytest.raises(AblyException) as caught:
        await soon(calling)
    return caught.value.status_code, caught.value.code


@FORMATS
async def test_what_is_published_in_python_is_received_in_python(
    ably: LocalAbly, *, binary: bool
) -> None:
    async with realtime(ably, binary=binary) as client, rest(ably) as publisher:
        received = await listening(client)
        channel = publisher.channels.get("job.7")
        await channel.publish(Message("step", {"percent": 30}, id="one"))
        await channel.publish("raw", b"\x00\xff")
        first, second = await soon(received.get()), await soon(received.get())
    assert (first.name, first.data, first.id) == ("step", {"percent": 30}, "one")
    assert (second.name, second.data) == ("raw", b"\x00\xff")


@FORMATS
async def test_what_is_published_in_python_is_received_in_node(
    ably: LocalAbly, *, binary: bool
) -> None:
    options = {"key": ably.key, "port": ably.port, "useBinaryProtocol": binary}
    async with NodeAbly.run("job.7", **options) as node, rest(ably) as publisher:
        await node.until(attached="job.7")
        channel = publisher.channels.get("job.7")
        await channel.publish([Message("a", "text"), Message("b", bytes([1, 2]))])
        assert (await node.until(event="a"))["data"] == "text"
        assert (await node.until(event="b"))["data"] == [1, 2]


@FORMATS
async def test_what_is_published_in_node_is_received_in_python(
    ably: LocalAbly, *, binary: bool
) -> None:
    options = {"key": ably.key, "port": ably.port, "useBinaryProtocol": binary}
    async with NodeAbly.run("job.7", **options) as node, realtime(ably) as client:
        await node.until(attached="job.7")
        received = await listening(client)
        await node.tell("publish", "job.7", "step", {"percent": 30})
        told = await node.until(done="publish")
        message = await soon(received.get())
    assert (message.name, message.data) == ("step", {"percent": 30})
    assert told["serials"] == [message.serial]


async def test_python_publishes_over_its_connection_too(ably: LocalAbly) -> None:
    async with realtime(ably, binary=True) as client, realtime(ably) as other:
        received = await listening(other)
        await soon(client.channels.get("job.7").publish("step", "text"))
        assert (await soon(received.get())).data == "text"
        code = await refused(client.channels.get("job.7").publish("large", "x" * 65_536))
        assert code == (400, 40009)


async def test_a_repeated_id_is_delivered_once(ably: LocalAbly) -> None:
    async with realtime(ably) as client, rest(ably) as publisher:
        received = await listening(client)
        channel = publisher.channels.get("job.7")
        first = await channel.publish(Message("a", "first", id="one"))
        again = await channel.publish(Message("a", "again", id="one"))
        await channel.publish("b", "last")
        assert first.serials == again.serials
        assert [(await soon(received.get())).data for _ in range(2)] == ["first", "last"]


async def test_the_ids_of_several_messages_belong_together(ably: LocalAbly) -> None:
    async with rest(ably) as publisher:
        channel = publisher.channels.get("job.7")
        await channel.publish([Message("a", "1", id="base:0"), Message("b", "2", id="base:1")])
        strangers = [Message("a", "1", id="one"), Message("b", "2", id="two")]
        assert await refused(channel.publish(strangers)) == (400, 40031)


async def test_65536_bytes_are_taken_and_one_more_is_not(ably: LocalAbly) -> None:
    async with rest(ably) as publisher:
        channel = publisher.channels.get("job.7")
        await channel.publish("step", "ä" * 32_766)
        assert await refused(channel.publish("step", "ä" * 32_766 + "x")) == (400, 40009)


async def test_one_call_publishes_to_many_channels(ably: LocalAbly) -> None:
    limited = token(ably, capability='{"a":["publish"],"b":["publish"]}')
    async with realtime(ably) as client, rest(ably, token=limited) as publisher:
        received = await listening(client, "b")
        specs = [
            {"channels": ["a", "b"], "messages": [{"name": "step", "data": "x"}]},
            {"channels": ["c"], "messages": [{"name": "step", "data": "x"}]},
        ]
        answer = await publisher.request("POST", "/messages", "3", body=specs)
        assert answer.success
        assert [one["successCount"] for one in answer.items] == [2, 0]
        assert answer.items[1]["results"][0]["error"]["code"] == 40160
        assert (await soon(received.get())).data == "x"


async def test_history_is_read_in_pages_both_ways(ably: LocalAbly) -> None:
    async with rest(ably) as client:
        channel = client.channels.get("ns:a b")
        for number in range(5):
            await channel.publish("step", str(number))
        page = await channel.history(limit=2)
        found = [message.data for message in page.items]
        while page.has_next():
            page = await page.next()
            found += [message.data for message in page.items]
        assert found == ["4", "3", "2", "1", "0"]
        page = await channel.history(direction="forwards", limit=3)
        assert [message.data for message in page.items] == ["0", "1", "2"]


async def test_it_tells_the_time_and_how_many_listen(ably: LocalAbly) -> None:
    async with rest(ably) as client, realtime(ably) as listener:
        assert abs(await client.time() - time.time() * 1000) < 60_000
        await listening(listener)
        status = await client.channels.get("job.7").status()
        assert status.status.occupancy.metrics.subscribers == 1


async def test_a_token_covers_its_channels_and_no_others(ably: LocalAbly) -> None:
    limited = token(ably, capability='{"app:job.7":["subscribe"]}')
    options = {"token": limited, "port": ably.port, "useBinaryProtocol": False}
    async with NodeAbly.run("app:job.7", "app:job.8", **options) as node:
        told = {line.get("attached") or line.get("refused"): line for line in await _two(node)}
        assert told["app:job.8"]["code"] == 40160
        await node.tell("publish", "app:job.7", "step", "x")
        assert (await node.until(failed="publish"))["code"] == 40160


async def _two(node: NodeAbly) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    while len(lines) < 2:
        line = await node.line()
        lines += [line] if {"attached", "refused"} & line.keys() else []
    return lines


async def test_a_token_request_is_exchanged_once_and_only_if_it_is_signed(ably: LocalAbly) -> None:
    async with AblyRest(key=ably.key) as signer:
        request = await signer.auth.create_token_request({"capability": {"job.*": ["publish"]}})
    fields = request.to_dict()

    async def callback(_: Any) -> Any:
        return fields

    async with rest(ably, auth_callback=callback) as client:
        await client.channels.get("job.*").publish("step", "x")
        assert await refused(client.channels.get("job.7").publish("step", "x")) == (401, 40160)
    async with rest(ably, auth_callback=callback) as again:
        assert await refused(again.channels.get("job.*").publish("step", "x")) == (401, 40105)
    fields |= {"nonce": "0123456789abcdef0", "capability": '{"*":["*"]}'}
    async with rest(ably, auth_callback=callback) as forged:
        assert await refused(forged.channels.get("job.7").publish("step", "x")) == (401, 40101)


@pytest.mark.parametrize(("key", "code"), [("local.key:wrong", 40101), ("other.key:secret", 40400)])
async def test_a_wrong_key_fails_the_connection(ably: LocalAbly, key: str, code: int) -> None:
    async with NodeAbly.run(key=key, port=ably.port) as node:
        assert (await node.until(state="failed"))["code"] == code


async def test_a_token_that_expires_is_renewed_on_the_open_connection(ably: LocalAbly) -> None:
    issued: list[str] = []

    async def callback(_: Any) -> str:
        issued.append(token(ably, seconds=2 if not issued else 600))
        return issued[-1]

    updated: Received = asyncio.Queue()
    async with realtime(ably, auth_callback=callback) as client, rest(ably) as publisher:
        client.connection.on("update", updated.put_nowait)
        received = await listening(client)
        await soon(updated.get())
        await publisher.channels.get("job.7").publish("step", "x")
        assert (await soon(received.get())).data == "x"
    assert (len(issued), ably.accepted) == (2, 1)


async def test_a_connection_whose_token_is_not_renewed_ends_with_it(ably: LocalAbly) -> None:
    options = {"token": token(ably, seconds=2), "port": ably.port}
    async with NodeAbly.run("job.7", **options) as node:
        assert (await node.until(state="failed"))["code"] == 40171


async def test_an_expired_token_is_replaced_by_the_sdk(ably: LocalAbly) -> None:
    tokens = iter([token(ably, seconds=-1), token(ably)])

    async def callback(_: Any) -> str:
        return next(tokens)

    async with rest(ably, auth_callback=callback) as client:
        await client.channels.get("job.7").publish("step", "x")
    assert next(tokens, None) is None


@FORMATS
async def test_after_a_drop_a_client_gets_what_it_missed(ably: LocalAbly, *, binary: bool) -> None:
    options = {"port": ably.port, "useBinaryProtocol": binary, "disconnectedRetryTimeout": 200}
    async with NodeAbly.run("job.7", key=ably.key, **options) as node, rest(ably) as publisher:
        await node.until(attached="job.7")
        channel = publisher.channels.get("job.7")
        await channel.publish("step", "1")
        await node.until(data="1")
        ably.faults.refuse = True
        ably.drop()
        await node.until(state="disconnected")
        await channel.publish("step", "2")
        ably.faults.heal()
        assert (await node.until(data="2"))["event"] == "step"


async def test_the_service_sends_clients_away_with_a_reason(ably: LocalAbly) -> None:
    async with NodeAbly.run("job.7", key=ably.key, port=ably.port) as node:
        await node.until(attached="job.7")
        ably.end_all(80003, 503, "moving house")
        assert (await node.until(state="disconnected"))["code"] == 80003
        await node.until(state="connected")


async def test_no_token_goes_beyond_its_key(ably: LocalAbly) -> None:
    ably.keys.capability = {"app:*": ["subscribe"]}
    async with rest(ably) as client:
        assert await refused(client.channels.get("app:job.7").publish("a", "x")) == (401, 40160)
        details = await client.auth.request_token(
            {"capability": {"app:*": ["publish", "subscribe"]}}
        )
        assert str(details.capability) == '{"app:*": ["subscribe"]}'
        asking = client.auth.request_token({"capability": {"other:*": ["subscribe"]}})
        assert await refused(asking) == (401, 40160)


@pytest.mark.parametrize(("state", "code"), [("disabled", 40110), ("over its quota", 40112)])
async def test_an_account_that_is_closed_is_refused_everywhere(
    ably: LocalAbly, state: AppState, code: int
) -> None:
    ably.keys.state = state
    async with rest(ably, token=token(ably)) as client:
        assert await refused(client.channels.get("job.7").publish("a", "x")) == (401, code)
    async with NodeAbly.run(key=ably.key, port=ably.port) as node:
        assert (await node.until(state="failed"))["code"] == code


@pytest.mark.parametrize(
    ("status", "code"), [(401, 40101), (403, 40300), (429, 42910), (500, 50000)]
)
async def test_calls_fail_as_told(ably: LocalAbly, status: int, code: int) -> None:
    async with rest(ably, token=token(ably)) as client:
        ably.faults.status = status
        assert await refused(client.channels.get("job.7").publish("a", "x")) == (status, code)
        ably.faults.heal()
        await client.channels.get("job.7").publish("a", "x")


async def test_messages_are_lost_repeated_and_overtaken_as_told(ably: LocalAbly) -> None:
    async with realtime(ably) as client, rest(ably) as publisher:
        received = await listening(client)
        channel = publisher.channels.get("job.7")
        ably.faults.lose = 1.0
        await channel.publish("step", "lost")
        ably.faults.heal()
        ably.faults.duplicate = 1.0
        await channel.publish("step", "twice")
        ably.faults.heal()
        ably.faults.reorder = 1.0
        await channel.publish("step", "late")
        await channel.publish("step", "early")
        found = [(await soon(received.get())).data for _ in range(4)]
    assert found == ["twice", "twice", "early", "late"]


async def test_who_waits_for_a_listener_is_told(ably: LocalAbly) -> None:
    async with realtime(ably) as client:
        waiting = asyncio.create_task(ably.until(lambda: ably.subscribers("job.7") == 1))
        await listening(client)
        await soon(waiting)
    await soon(ably.until(lambda: ably.connections == 0))
