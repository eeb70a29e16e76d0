"""The local Ably, used by the official SDKs in Python and Node, in JSON and in msgpack."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import jwt
import pytest
import pytest_asyncio
from ably import AblyException, AblyRealtime, AblyRest
from ably.types.message import Message

from realtime_bridge.testing.providers import LocalAbly
from realtime_bridge.testing.providers.ably.keys import AppState
from tests.testing.node_ably import NodeAbly

TIMEOUT = 15.0

FORMATS = pytest.mark.parametrize("binary", [False, True], ids=["json", "msgpack"])

MessageQueue = asyncio.Queue[Any]


@pytest_asyncio.fixture
async def ably() -> AsyncIterator[LocalAbly]:
    async with LocalAbly() as ably:
        yield ably


@asynccontextmanager
async def rest(ably: LocalAbly, **options: Any) -> AsyncIterator[AblyRest]:
    credentials = options or {"key": ably.key, "use_token_auth": True}
    async with AblyRest(endpoint="127.0.0.1", port=ably.port, tls=False, **credentials) as client:
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


async def subscribe(client: Any, name: str = "job.7") -> MessageQueue:
    messages: MessageQueue = asyncio.Queue()
    await client.channels.get(name).subscribe(messages.put_nowait)
    return messages


async def within_timeout(wait: Awaitable[Any]) -> Any:
    async with asyncio.timeout(TIMEOUT):
        return await wait


def token(ably: LocalAbly, *, seconds: float = 600, capability: str = "", **more: str) -> str:
    name, _, secret = ably.key.partition(":")
    claims: dict[str, Any] = {"iat": int(time.time()), "exp": time.time() + seconds, **more}
    claims |= {"x-ably-capability": capability} if capability else {}
    return jwt.encode(claims, secret, "HS256", headers={"kid": name})


async def error_of(call: Awaitable[Any]) -> tuple[int, int]:
    with pytest.raises(AblyException) as caught:
        await within_timeout(call)
    return caught.value.status_code, caught.value.code


@FORMATS
async def test_python_receives_events_published_by_python(ably: LocalAbly, *, binary: bool) -> None:
    async with realtime(ably, binary=binary) as client, rest(ably) as publisher:
        messages = await subscribe(client)
        channel = publisher.channels.get("job.7")
        await channel.publish(Message("step", {"percent": 30}, id="one"))
        await channel.publish("raw", b"\x00\xff")
        first, second = await within_timeout(messages.get()), await within_timeout(messages.get())
    assert (first.name, first.data, first.id) == ("step", {"percent": 30}, "one")
    assert (second.name, second.data) == ("raw", b"\x00\xff")


@FORMATS
async def test_node_receives_events_published_by_python(ably: LocalAbly, *, binary: bool) -> None:
    options = {"key": ably.key, "port": ably.port, "useBinaryProtocol": binary}
    async with NodeAbly.run("job.7", **options) as node, rest(ably) as publisher:
        await node.until(attached="job.7")
        channel = publisher.channels.get("job.7")
        await channel.publish([Message("a", "text"), Message("b", bytes([1, 2]))])
        assert (await node.until(event="a"))["data"] == "text"
        assert (await node.until(event="b"))["data"] == [1, 2]


@FORMATS
async def test_python_receives_events_published_by_node(ably: LocalAbly, *, binary: bool) -> None:
    options = {"key": ably.key, "port": ably.port, "useBinaryProtocol": binary}
    async with NodeAbly.run("job.7", **options) as node, realtime(ably) as client:
        await node.until(attached="job.7")
        messages = await subscribe(client)
        await node.send("publish", "job.7", "step", {"percent": 30})
        done = await node.until(done="publish")
        message = await within_timeout(messages.get())
    assert (message.name, message.data) == ("step", {"percent": 30})
    assert done["serials"] == [message.serial]


async def test_python_publishes_over_its_connection(ably: LocalAbly) -> None:
    async with realtime(ably, binary=True) as client, realtime(ably) as other:
        messages = await subscribe(other)
        await within_timeout(client.channels.get("job.7").publish("step", "text"))
        assert (await within_timeout(messages.get())).data == "text"
        code = await error_of(client.channels.get("job.7").publish("large", "x" * 65_536))
        assert code == (400, 40009)


async def test_repeated_id_is_delivered_once(ably: LocalAbly) -> None:
    async with realtime(ably) as client, rest(ably) as publisher:
        messages = await subscribe(client)
        channel = publisher.channels.get("job.7")
        first = await channel.publish(Message("a", "first", id="one"))
        second = await channel.publish(Message("a", "again", id="one"))
        await channel.publish("b", "last")
        assert first.serials == second.serials
        assert [(await within_timeout(messages.get())).data for _ in range(2)] == ["first", "last"]


async def test_ids_of_one_publish_need_a_common_base(ably: LocalAbly) -> None:
    async with rest(ably) as publisher:
        channel = publisher.channels.get("job.7")
        await channel.publish([Message("a", "1", id="base:0"), Message("b", "2", id="base:1")])
        unrelated = [Message("a", "1", id="one"), Message("b", "2", id="two")]
        assert await error_of(channel.publish(unrelated)) == (400, 40031)


async def test_publish_is_limited_to_65536_bytes(ably: LocalAbly) -> None:
    async with rest(ably) as publisher:
        channel = publisher.channels.get("job.7")
        await channel.publish("step", "ä" * 32_766)
        assert await error_of(channel.publish("step", "ä" * 32_766 + "x")) == (400, 40009)


async def test_batch_call_publishes_to_many_channels(ably: LocalAbly) -> None:
    limited = token(ably, capability='{"a":["publish"],"b":["publish"]}')
    async with realtime(ably) as client, rest(ably, token=limited) as publisher:
        messages = await subscribe(client, "b")
        specs = [
            {"channels": ["a", "b"], "messages": [{"name": "step", "data": "x"}]},
            {"channels": ["c"], "messages": [{"name": "step", "data": "x"}]},
        ]
        answer = await publisher.request("POST", "/messages", "3", body=specs)
        assert answer.success
        assert [one["successCount"] for one in answer.items] == [2, 0]
        assert answer.items[1]["results"][0]["error"]["code"] == 40160
        assert (await within_timeout(messages.get())).data == "x"


async def test_history_is_read_in_pages_in_both_directions(ably: LocalAbly) -> None:
    async with rest(ably) as client:
        channel = client.channels.get("ns:a b")
        for number in range(5):
            await channel.publish("step", str(number))
        page = await channel.history(limit=2)
        texts = [message.data for message in page.items]
        while page.has_next():
            page = await page.next()
            texts += [message.data for message in page.items]
        assert texts == ["4", "3", "2", "1", "0"]
        page = await channel.history(direction="forwards", limit=3)
        assert [message.data for message in page.items] == ["0", "1", "2"]


async def test_time_and_number_of_subscribers_are_returned(ably: LocalAbly) -> None:
    async with rest(ably) as client, realtime(ably) as subscriber:
        assert abs(await client.time() - time.time() * 1000) < 60_000
        await subscribe(subscriber)
        status = await client.channels.get("job.7").status()
        assert status.status.occupancy.metrics.subscribers == 1


async def test_token_covers_only_its_channels(ably: LocalAbly) -> None:
    limited = token(ably, capability='{"app:job.7":["subscribe"]}')
    options = {"token": limited, "port": ably.port, "useBinaryProtocol": False}
    async with NodeAbly.run("app:job.7", "app:job.8", **options) as node:
        answers = await two_answers(node)
        lines = {line.get("attached") or line.get("refused"): line for line in answers}
        assert lines["app:job.8"]["code"] == 40160
        await node.send("publish", "app:job.7", "step", "x")
        assert (await node.until(failed="publish"))["code"] == 40160


async def two_answers(node: NodeAbly) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    while len(lines) < 2:
        line = await node.line()
        lines += [line] if {"attached", "refused"} & line.keys() else []
    return lines


async def test_token_request_is_exchanged_once_if_signed(ably: LocalAbly) -> None:
    async with AblyRest(key=ably.key) as signer:
        request = await signer.auth.create_token_request({"capability": {"job.*": ["publish"]}})
    fields = request.to_dict()

    async def callback(_: Any) -> Any:
        return fields

    async with rest(ably, auth_callback=callback) as client:
        await client.channels.get("job.*").publish("step", "x")
        assert await error_of(client.channels.get("job.7").publish("step", "x")) == (401, 40160)
    async with rest(ably, auth_callback=callback) as second_client:
        assert await error_of(second_client.channels.get("job.*").publish("step", "x")) == (
            401,
            40105,
        )
    fields |= {"nonce": "0123456789abcdef0", "capability": '{"*":["*"]}'}
    async with rest(ably, auth_callback=callback) as forged:
        assert await error_of(forged.channels.get("job.7").publish("step", "x")) == (401, 40101)


@pytest.mark.parametrize(("key", "code"), [("local.key:wrong", 40101), ("other.key:secret", 40400)])
async def test_wrong_key_fails_the_connection(ably: LocalAbly, key: str, code: int) -> None:
    async with NodeAbly.run(key=key, port=ably.port) as node:
        assert (await node.until(state="failed"))["code"] == code


async def test_expiring_token_is_renewed_on_open_connection(ably: LocalAbly) -> None:
    tokens: list[str] = []

    async def callback(_: Any) -> str:
        tokens.append(token(ably, seconds=2 if not tokens else 600))
        return tokens[-1]

    updates: MessageQueue = asyncio.Queue()
    async with realtime(ably, auth_callback=callback) as client, rest(ably) as publisher:
        client.connection.on("update", updates.put_nowait)
        messages = await subscribe(client)
        await within_timeout(updates.get())
        await publisher.channels.get("job.7").publish("step", "x")
        assert (await within_timeout(messages.get())).data == "x"
    assert (len(tokens), ably.accepted) == (2, 1)


async def test_connection_ends_with_its_token(ably: LocalAbly) -> None:
    options = {"token": token(ably, seconds=2), "port": ably.port}
    async with NodeAbly.run("job.7", **options) as node:
        assert (await node.until(state="failed"))["code"] == 40171


async def test_sdk_replaces_an_expired_token(ably: LocalAbly) -> None:
    tokens = iter([token(ably, seconds=-1), token(ably)])

    async def callback(_: Any) -> str:
        return next(tokens)

    async with rest(ably, auth_callback=callback) as client:
        await client.channels.get("job.7").publish("step", "x")
    assert next(tokens, None) is None


@FORMATS
async def test_client_receives_missed_messages_after_a_drop(
    ably: LocalAbly, *, binary: bool
) -> None:
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


async def test_end_all_disconnects_clients_with_a_reason(ably: LocalAbly) -> None:
    async with NodeAbly.run("job.7", key=ably.key, port=ably.port) as node:
        await node.until(attached="job.7")
        ably.end_all(80003, 503, "The service is moving")
        assert (await node.until(state="disconnected"))["code"] == 80003
        await node.until(state="connected")


async def test_token_is_limited_by_the_capability_of_its_key(ably: LocalAbly) -> None:
    ably.keys.capability = {"app:*": ["subscribe"]}
    async with rest(ably) as client:
        assert await error_of(client.channels.get("app:job.7").publish("a", "x")) == (401, 40160)
        details = await client.auth.request_token(
            {"capability": {"app:*": ["publish", "subscribe"]}}
        )
        assert str(details.capability) == '{"app:*": ["subscribe"]}'
        request = client.auth.request_token({"capability": {"other:*": ["subscribe"]}})
        assert await error_of(request) == (401, 40160)


@pytest.mark.parametrize(("state", "code"), [("disabled", 40110), ("over its quota", 40112)])
async def test_disabled_account_is_rejected(ably: LocalAbly, state: AppState, code: int) -> None:
    ably.keys.state = state
    async with rest(ably, token=token(ably)) as client:
        assert await error_of(client.channels.get("job.7").publish("a", "x")) == (401, code)
    async with NodeAbly.run(key=ably.key, port=ably.port) as node:
        assert (await node.until(state="failed"))["code"] == code


@pytest.mark.parametrize(
    ("status", "code"), [(401, 40101), (403, 40300), (429, 42910), (500, 50000)]
)
async def test_calls_fail_with_the_status_of_the_fault(
    ably: LocalAbly, status: int, code: int
) -> None:
    async with rest(ably, token=token(ably)) as client:
        ably.faults.status = status
        assert await error_of(client.channels.get("job.7").publish("a", "x")) == (status, code)
        ably.faults.heal()
        await client.channels.get("job.7").publish("a", "x")


async def test_messages_are_lost_repeated_and_reordered(ably: LocalAbly) -> None:
    async with realtime(ably) as client, rest(ably) as publisher:
        messages = await subscribe(client)
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
        texts = [(await within_timeout(messages.get())).data for _ in range(4)]
    assert texts == ["twice", "twice", "early", "late"]


async def test_until_returns_when_a_client_subscribes(ably: LocalAbly) -> None:
    async with realtime(ably) as client:
        wait = asyncio.create_task(ably.until(lambda: ably.subscribers("job.7") == 1))
        await subscribe(client)
        await within_timeout(wait)
    await within_timeout(ably.until(lambda: ably.connections == 0))


async def test_failed_channel_leaves_the_connection(ably: LocalAbly) -> None:
    async with realtime(ably) as client:
        messages = await subscribe(client)
        other = await subscribe(client, "job.8")
        ably.fail_channel("job.7")
        await ably.until(lambda: ably.subscribers("job.7") == 0)
        async with rest(ably) as publisher:
            await publisher.channels.get("job.8").publish("a", "x")
        assert (await within_timeout(other.get())).data == "x"
        assert messages.empty()
        assert ably.connections == 1


async def test_name_beyond_the_limit_is_refused_alone(ably: LocalAbly) -> None:
    ably.faults.max_name, ably.faults.failing = 100, frozenset({"job.9"})
    async with realtime(ably) as client:
        assert await error_of(subscribe(client, "x" * 101)) == (400, 40010)
        assert await error_of(subscribe(client, "job.9")) == (500, 50000)
        await within_timeout(subscribe(client))


async def test_channel_over_the_limit_of_a_connection_is_refused_alone(ably: LocalAbly) -> None:
    async with realtime(ably) as client:
        await within_timeout(asyncio.gather(*(subscribe(client, f"job.{n}") for n in range(200))))
        assert await error_of(subscribe(client, "job.200")) == (400, 90010)
        await client.channels.get("job.0").detach()
        await within_timeout(subscribe(client, "job.201"))


@pytest.mark.parametrize("targets", [["clientId:ada"], ["channel:app:job.7"]])
async def test_revoked_token_ends_its_connection(ably: LocalAbly, targets: list[str]) -> None:
    credentials = ably.key.partition(":")[::2]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{ably.port}") as http:
        url, body = f"/keys/{ably.keys.name}/revokeTokens", {"targets": targets}
        refusal = await http.post(url, json=body, auth=credentials)
        assert refusal.json()["error"]["code"] == 40164
        ably.keys.is_revocable = True
        claims: dict[str, Any] = {
            "x-ably-clientId": "ada",
            "x-ably-capability": '{"app:job.7":["subscribe"]}',
        }
        async with realtime(ably, token=token(ably, **claims)) as client:
            await within_timeout(subscribe(client, "app:job.7"))
            response = await http.post(url, json=body, auth=credentials)
            assert response.json()["successCount"] == 1
            await ably.until(lambda: ably.connections == 0)
