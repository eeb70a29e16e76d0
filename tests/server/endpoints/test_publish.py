"""Tests of signed publishing over HTTP and of the workers' socket."""

import asyncio
import time
from typing import Any

import orjson
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from realtime_bridge.errors import BackendUnavailableError
from realtime_bridge.model.event_data import MAX_DATA_BYTES
from realtime_bridge.protocol.wire import rpc
from realtime_bridge.protocol.wire.rpc import MAX_CALL_BYTES, signed_headers
from realtime_bridge_backends.websocket import WebSocketBackend
from tests.server.harness import SECRET, TIMEOUT, Frame, Serve, Site, make_settings

CHANNEL = "job.7"
GOOD: Frame = {"channel": CHANNEL, "event": "job.step", "data": 1}


def batch(*events: object) -> Frame:
    return {"events": list(events)}


async def test_signed_publish_reaches_client_and_returns_receipts(site: Site) -> None:
    client = await site.connect()
    await client.subscribe(CHANNEL)
    status, answer = await site.publish(batch(GOOD, {**GOOD, "id": "mine", "key": "a1"}))
    assert status == 200
    first, second = answer["receipts"]
    assert (first["position"]["offset"], second["position"]["offset"]) == (1, 2)
    assert (second["id"], second["duplicate"], second["pushed"]) == ("mine", False, True)
    events = await client.events(2)
    assert [event["id"] for event in events] == [first["id"], "mine"]
    assert events[1]["key"] == "a1"


async def test_repeated_id_is_a_duplicate(site: Site) -> None:
    for duplicate in (False, True):
        _, answer = await site.publish(batch({**GOOD, "id": "mine"}))
        assert [receipt["duplicate"] for receipt in answer["receipts"]] == [duplicate]


class TestSignatures:
    async def test_unsigned_call_publishes_nothing(self, site: Site) -> None:
        watcher = await site.watch()
        body = orjson.dumps(batch(GOOD))
        good = signed_headers(SECRET, str(time.time()), body)
        for missing in (*good, None):
            headers = {name: value for name, value in good.items() if missing not in (None, name)}
            status, answer = await site.post("publish", body, **headers)
            assert (status, answer["error"]["code"]) == (401, "not_signed")
        await watcher.notices_nothing()

    @pytest.mark.parametrize(
        ("options", "code"),
        [
            ({"secret": "x" * 32}, "bad_signature"),
            ({"timestamp": "now"}, "bad_timestamp"),
            ({"timestamp": "1000"}, "old_timestamp"),
            ({"timestamp": "nan"}, "old_timestamp"),
            ({"timestamp": "9e99"}, "old_timestamp"),
        ],
    )
    async def test_invalid_signature_publishes_nothing(
        self, site: Site, options: dict[str, str], code: str
    ) -> None:
        watcher = await site.watch()
        status, answer = await site.publish(batch(GOOD), **options)
        assert (status, answer["error"]["code"]) == (401, code)
        assert SECRET not in answer["error"]["message"]
        assert abs(answer["error"]["time"] - time.time() * 1_000) < 60_000
        await watcher.notices_nothing()

    async def test_body_other_than_the_signed_one_is_rejected(self, site: Site) -> None:
        headers = signed_headers(SECRET, str(time.time()), orjson.dumps(batch(GOOD)))
        status, answer = await site.post("publish", batch({**GOOD, "data": 2}), **headers)
        assert (status, answer["error"]["code"]) == (401, "bad_signature")

    async def test_replayed_body_is_not_published(self, site: Site) -> None:
        watcher = await site.watch()
        timestamp = f"{time.time():.6f}"
        assert (await site.publish(batch(GOOD), timestamp=timestamp))[0] == 200
        status, answer = await site.publish(batch(GOOD), timestamp=timestamp)
        assert (status, answer["error"]["code"]) == (409, "replayed")
        assert (await site.bridge.position(CHANNEL)).offset == 1
        await watcher.notices_nothing()


class TestBadEvents:
    @pytest.mark.parametrize(
        ("body", "wrong"),
        [
            (b"nonsense", "not JSON"),
            (b"[]", "not a JSON object"),
            (b"", "not JSON"),
            ({}, "send {"),
            (batch(), "send {"),
            (batch(GOOD, GOOD, {"channel": CHANNEL}), "events[2] is incomplete"),
            (batch(GOOD, {**GOOD, "channel": "job 7"}), "events[1]: Bad channel name"),
            (batch(GOOD, {**GOOD, "channel": "private-job"}), "events[1]: Bad channel name"),
            (batch({**GOOD, "event": "x" * 201}), "events[0]: Bad event name"),
            (batch({**GOOD, "id": ""}), "events[0]: Bad id"),
            (batch({**GOOD, "data": "x" * MAX_DATA_BYTES}), "over the limit of 1,048,576"),
            (batch(*[GOOD] * 501), "501 events at once are over the limit of 500"),
        ],
        ids=lambda value: str(value)[:30],
    )
    async def test_invalid_event_rejects_the_whole_call(
        self, site: Site, body: object, wrong: str
    ) -> None:
        watcher = await site.watch()
        status, answer = await site.publish(body)
        assert (status, answer["error"]["code"]) == (400, "invalid_event")
        assert wrong in answer["error"]["message"]
        assert (await site.bridge.position(CHANNEL)).offset == 0
        await watcher.notices_nothing()

    async def test_oversized_body_is_rejected(self, site: Site) -> None:
        watcher = await site.watch()
        status, answer = await site.publish(b" " * (MAX_CALL_BYTES + 1))
        assert (status, answer["error"]["code"]) == (413, "too_large")
        await watcher.notices_nothing()

    async def test_largest_batch_is_published(self, site: Site) -> None:
        status, answer = await site.publish(batch(*[GOOD] * 500))
        assert (status, len(answer["receipts"])) == (200, 500)


async def send_call(worker: ClientConnection, **fields: Any) -> Frame:
    await worker.send(orjson.dumps(fields).decode())
    async with asyncio.timeout(TIMEOUT):
        answer: Frame = orjson.loads(await worker.recv())
        return answer


class TestWorkerSocket:
    async def test_calls_are_answered_in_order_with_their_number(self, site: Site) -> None:
        worker = await site.worker()
        top = (await send_call(worker, call="positions", channels=[CHANNEL], number=1))["positions"]
        for number in range(2, 5):
            text = orjson.dumps({"call": "append", "events": [GOOD], "number": number})
            await worker.send(text.decode())
        answers = [orjson.loads(await worker.recv()) for _ in range(3)]
        assert [answer["number"] for answer in answers] == [2, 3, 4]
        offsets = [answer["receipts"][0]["position"]["offset"] for answer in answers]
        assert offsets == [1, 2, 3]
        read = await send_call(worker, call="read", channel=CHANNEL, after=top[CHANNEL], limit=2)
        assert ([event["offset"] for event in read["events"]], read["more"]) == ([1, 2], True)
        latest = await send_call(worker, call="latest", channel=CHANNEL)
        assert (latest["events"], latest["top"]["offset"]) == ([], 3)
        rotation = await send_call(
            worker, call="rotate_epoch", channel=CHANNEL, expected_epoch=top[CHANNEL]["epoch"]
        )
        assert rotation["position"]["offset"] == 0

    async def test_each_batch_of_a_call_has_its_own_result(self, serve: Serve) -> None:
        site = await serve(limit_event_bytes=10)
        worker = await site.worker()
        large = {**GOOD, "data": "x" * 9}
        batches: list[Any] = [[GOOD], [{}], [GOOD, large], [GOOD] * 2, "no list", [GOOD]]
        answer = await send_call(worker, call="append", number=7, batches=batches)
        assert answer["number"] == 7
        assert [
            [receipt["position"]["offset"] for receipt in result]
            if isinstance(result, list)
            else result["error"]["invalid"]
            for result in answer["results"]
        ] == [[1], True, True, [2, 3], True, [4]]
        messages = [
            result["error"]["message"] for result in map(answer["results"].__getitem__, (1, 2, 4))
        ]
        for message, reason in zip(
            messages,
            ("events[0] is incomplete", "REALTIME_LIMIT_EVENT_BYTES", "send {"),
            strict=True,
        ):
            assert reason in message

    async def test_batches_beyond_one_publish_are_divided(self, site: Site) -> None:
        worker = await site.worker()
        answer = await send_call(worker, call="append", batches=[[GOOD] * 200] * 3)
        offsets = [
            receipt["position"]["offset"] for batch in answer["results"] for receipt in batch
        ]
        assert offsets == [*range(1, 601)]

    async def test_failure_that_may_pass_is_the_result_of_all_batches(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls = 0

        async def fail(_: object) -> None:
            nonlocal calls
            calls += 1
            raise BackendUnavailableError("the log is away")

        monkeypatch.setattr(site.context.pipeline.log, "append", fail)
        answer = await send_call(await site.worker(), call="append", batches=[[GOOD]] * 3)
        assert [result["error"]["retryable"] for result in answer["results"]] == [True] * 3
        assert calls == 1

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            signed_headers("x" * 32, str(time.time()), b""),
            signed_headers(SECRET, "1000", b""),
            signed_headers(SECRET, str(time.time()), b"{}"),
        ],
    )
    async def test_upgrade_without_valid_signature_is_401(
        self, site: Site, headers: dict[str, str]
    ) -> None:
        watcher = await site.watch()
        with pytest.raises(InvalidStatus) as caught:
            await site.open_route("publish", {"additional_headers": headers})
        assert caught.value.response.status_code == 401
        await watcher.notices_nothing()

    @pytest.mark.parametrize(
        ("fields", "wrong"),
        [
            ({"call": "append", "events": [GOOD, {}]}, "events[1]"),
            ({"call": "append"}, "send {"),
            ({"call": "append", "events": [GOOD] * 501}, "over the limit of 500"),
            ({"call": "append", "batches": []}, "batches is not valid"),
            ({"call": "append", "batches": {}}, "batches is not valid"),
            ({"call": "append", "batches": [[GOOD]] * 501}, "batches is not valid"),
            ({"call": "read", "channel": "job 7", "after": {}}, "Bad channel"),
            ({"call": "latest"}, "Bad channel"),
            ({"call": "positions", "channels": ["job 7"]}, "Bad channel"),
            ({"call": "rotate_epoch", "channel": ["x"]}, "Bad channel"),
        ],
        ids=lambda value: str(value)[:30],
    )
    async def test_invalid_call_is_answered_and_socket_stays_open(
        self, site: Site, fields: Frame, wrong: str
    ) -> None:
        watcher, worker = await site.watch(), await site.worker()
        if "after" in fields:
            fields = {**fields, "after": {"epoch": "k3v9q2wz", "offset": 0}}
        error = (await send_call(worker, number=7, **fields))["error"]
        assert (error["invalid"], error["retryable"], wrong in error["message"]) == (
            True,
            False,
            True,
        )
        assert (await send_call(worker, call="append", events=[GOOD], number=8))["number"] == 8
        await watcher.notices_nothing()

    @pytest.mark.parametrize(
        "text",
        [
            b"nonsense",
            b"[]",
            b"",
            b"{}",
            b'{"call":"drop"}',
            b'{"call":["append"]}',
            b'{"call":' + b"[" * 1_000 + b"]" * 1_000 + b"}",
            b'{"call":"read","channel":"job.7"}',
            b'{"call":"read","channel":"job.7","after":{"epoch":"k3v9q2wz","offset":0},"limit":"x"}',
            b'{"call":"read","channel":"job.7","after":{"epoch":"k3v9q2wz","offset":0},"limit":0}',
            b'{"call":"latest","channel":"job.7","after":null}',
            b'{"call":"latest","channel":"job.7","after":-1}',
            b'{"call":"positions","channels":"job.7"}',
            b'{"call":"positions"}',
        ],
        ids=lambda value: value.decode()[:30],
    )
    async def test_malformed_call_closes_its_socket_alone(self, site: Site, text: bytes) -> None:
        watcher, worker = await site.watch(), await site.worker()
        await worker.send(text)
        with pytest.raises(ConnectionClosed) as caught:
            await worker.recv()
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, bool(caught.value.rcvd.reason)) == (4400, True)
        await watcher.notices_nothing()

    async def test_aborted_worker_does_not_affect_clients(self, site: Site) -> None:
        watcher = await site.watch()
        worker = await site.worker()
        for _ in range(20):
            await worker.send(orjson.dumps({"call": "append", "events": [GOOD]}).decode())
        worker.transport.abort()
        await watcher.notices_nothing()


async def test_remote_backend_appends_to_the_log_of_the_server(site: Site) -> None:
    client = await site.connect()
    await client.subscribe(CHANNEL)
    async with WebSocketBackend(site.url, SECRET) as backend:
        events = rpc.unpack_events([GOOD] * 100)
        receipts = await backend.append(events)
        assert [receipt.id for receipt in receipts] == [event.id for event in events]
        assert [event["offset"] for event in await client.events(100)] == [*range(1, 101)]
    assert make_settings().secret_for(site.url) == SECRET


async def test_body_of_failed_append_may_be_sent_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: object) -> None:
        raise BackendUnavailableError("the log is away", retryable=False)

    timestamp = f"{time.time():.6f}"
    with monkeypatch.context() as broken:
        broken.setattr(site.context.pipeline.log, "append", fail)
        assert (await site.publish(batch(GOOD), timestamp=timestamp))[0] == 503
    assert (await site.publish(batch(GOOD), timestamp=timestamp))[0] == 200
    assert (await site.publish(batch(GOOD), timestamp=timestamp))[0] == 409


async def test_outage_of_the_log_is_one_line(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: object) -> None:
        raise BackendUnavailableError("the disk is full", retryable=False)

    worker = await site.worker()
    monkeypatch.setattr(site.context.pipeline.log, "append", fail)
    for number in range(5):
        answer = await send_call(worker, call="append", events=[GOOD], number=number)
        assert answer["error"]["message"] == "the disk is full"
    lines = [one.getMessage() for one in caplog.records if one.name.startswith("realtime_bridge")]
    assert lines == ["publishes of workers fail error='the disk is full'"]


async def test_event_over_configured_limit_is_rejected(serve: Serve) -> None:
    site = await serve(limit_event_bytes=10)
    small, large = (GOOD | {"data": "x" * length} for length in (8, 9))
    assert (await site.publish(batch(small)))[0] == 200
    status, answer = await site.publish(batch(small, large))
    assert (status, answer["error"]["code"]) == (400, "invalid_event")
    assert "REALTIME_LIMIT_EVENT_BYTES" in answer["error"]["message"]
    assert (await site.bridge.position(CHANNEL)).offset == 1


async def test_integer_that_browsers_round_is_invalid_unless_allowed(serve: Serve) -> None:
    events = [{"channel": "job.7", "event": "job.step", "data": {"id": 653247040368672768}}]
    site = await serve()
    status, answer = await site.publish({"events": events})
    assert (status, answer["error"]["code"]) == (400, "invalid_event")
    assert "send it as text" in answer["error"]["message"]
    site = await serve(large_integers=True)
    assert (await site.publish({"events": events}))[0] == 200
