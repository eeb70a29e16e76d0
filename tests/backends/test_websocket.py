"""WebSocket backend: contract of a log, lost connections, restarts, threads and forks."""

import asyncio
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request as WSRequest
from websockets.http11 import Response as WSResponse

from realtime_bridge import (
    BackendAuthError,
    BackendUnavailableError,
    Broadcaster,
    Event,
    InvalidEventError,
    PublishError,
    Receipt,
)
from realtime_bridge.client import HybridClient
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.retention import Retention
from realtime_bridge.publishing.pipeline import PublishPipeline
from realtime_bridge.publishing.timing import PublishTiming
from realtime_bridge.server import Bridge
from realtime_bridge.server.auth.signatures import SignatureError, Signatures
from realtime_bridge.server.auth.tokens import Tokens
from realtime_bridge.settings import DEVELOPMENT_SECRET, Settings
from realtime_bridge.testing import (
    FaultyProxy,
    FoldingLogContract,
    JoiningLogContract,
    LogContract,
)
from realtime_bridge.testing.contracts.folding_histories import Elapse
from realtime_bridge.testing.contracts.samples import new_channel, numbered
from realtime_bridge_backends.memory import MemoryBackend
from realtime_bridge_backends.websocket import APPEND_BYTES, WebSocketBackend, WebSocketTiming
from tests.cli.processes import TIMEOUT, ServeProcess, environment
from tests.client.servers import SECRET, serving

FORKING = """
import os, sys, threading
from realtime_bridge import BlockingBroadcaster

channel = sys.argv[1]
broadcaster = BlockingBroadcaster.from_env()
broadcaster.publish(channel, "first", [-1, 0, 0])


def publish(child, thread):
    for number in range(125):
        broadcaster.publish(channel, "step", [child, thread, number])


children = []
for child in range(4):
    pid = os.fork()
    if pid == 0:
        threads = [threading.Thread(target=publish, args=(child, n)) for n in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sys.exit()
    children.append(pid)
sys.exit(any(os.waitpid(pid, 0)[1] for pid in children))
"""

POOL = """
import multiprocessing, sys
from realtime_bridge import BlockingBroadcaster

broadcaster = BlockingBroadcaster.from_env()


def work(number):
    return broadcaster.publish(sys.argv[1], "step", [0, 0, number]).position.offset


broadcaster.publish(sys.argv[1], "first", [-1, 0, 0])
with multiprocessing.get_context("fork").Pool(4) as pool:
    offsets = pool.map(work, range(100), chunksize=5)
    pool.close()
    pool.join()
broadcaster.publish(sys.argv[1], "last", [-1, 0, 1])
sys.exit(sorted(offsets) != list(range(2, 102)))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    variables = {"REALTIME_HISTORY_EVENTS": str(LogContract.history_events)}
    folder = tmp_path_factory.mktemp("server")
    with ServeProcess("--dev", folder=folder, variables=variables) as server:
        yield server


@pytest.fixture
async def sender(server: ServeProcess) -> AsyncIterator[WebSocketBackend]:
    async with WebSocketBackend(server.url, DEVELOPMENT_SECRET) as backend:
        yield backend


@pytest.fixture
async def receiver(server: ServeProcess) -> AsyncIterator[WebSocketBackend]:
    async with WebSocketBackend(server.url, DEVELOPMENT_SECRET) as backend:
        yield backend


@pytest.fixture
async def proxy(server: ServeProcess) -> AsyncIterator[FaultyProxy]:
    async with FaultyProxy(server.port) as proxy:
        yield proxy


@pytest.fixture
async def broadcaster(proxy: FaultyProxy) -> AsyncIterator[Broadcaster]:
    """Broadcaster that publishes through the proxy."""
    log = WebSocketBackend(f"{proxy.url}/realtime", DEVELOPMENT_SECRET)
    async with Broadcaster(log=log) as broadcaster:
        yield broadcaster


@pytest.fixture
def channel() -> str:
    return new_channel()


class TestLog(LogContract):
    @pytest.fixture
    def receiver(self, receiver: WebSocketBackend) -> WebSocketBackend:
        return receiver


class TestJoiningLog(JoiningLogContract):
    @pytest.fixture
    def receiver(self, receiver: WebSocketBackend) -> WebSocketBackend:
        return receiver


class TestFoldingLog(FoldingLogContract):
    """The log of a server in this process, whose clock the tests move."""

    @pytest.fixture
    def clock(self) -> list[float]:
        return [1_000.0]

    @pytest.fixture
    async def sender(self, clock: list[float]) -> AsyncIterator[WebSocketBackend]:
        log = MemoryBackend(Retention(seconds=10**9), clock=lambda: clock[0])
        settings = Settings(secret=SECRET, prefix="folding")
        bridge = Bridge(settings, pipeline=PublishPipeline(log=log, backend=None))
        async with serving(bridge) as server:
            url = f"http://127.0.0.1:{server.port}/realtime"
            async with WebSocketBackend(url, SECRET) as backend:
                yield backend

    @pytest.fixture
    def elapse(self, clock: list[float]) -> Elapse:
        async def advance(_: str, seconds: float) -> None:
            clock[0] += seconds

        return advance


def position_of(receipt: Receipt) -> Position:
    assert receipt.position
    return receipt.position


async def test_parallel_publishes_share_a_connection_in_order(
    broadcaster: Broadcaster, proxy: FaultyProxy, channel: str
) -> None:
    receipts = await asyncio.gather(*(broadcaster.publish(channel, "x", n) for n in range(300)))
    assert [position_of(receipt).offset for receipt in receipts] == [*range(1, 301)]
    assert proxy.accepted == 1


async def test_lost_calls_are_sent_again_without_duplicates(
    broadcaster: Broadcaster, proxy: FaultyProxy, receiver: WebSocketBackend, channel: str
) -> None:
    await broadcaster.publish(channel, "x", 0)
    proxy.swallow("down")
    publishing = [asyncio.create_task(broadcaster.publish(channel, "x", n)) for n in range(50)]
    async with asyncio.timeout(TIMEOUT):
        while (await receiver.positions([channel]))[channel].offset < 51:
            pass
    proxy.heal()
    proxy.drop()
    receipts = await asyncio.gather(*publishing)
    assert all(receipt.duplicate for receipt in receipts)
    assert {position_of(receipt).offset for receipt in receipts} == {*range(2, 52)}
    assert (await receiver.positions([channel]))[channel].offset == 51


async def test_publish_that_the_server_refuses_fails_alone(channel: str) -> None:
    settings = Settings(secret=SECRET, prefix="refusing", limit_event_bytes=100)
    bridge = Bridge(settings, pipeline=PublishPipeline(log=MemoryBackend(), backend=None))
    async with serving(bridge) as server:
        log = WebSocketBackend(f"http://127.0.0.1:{server.port}/realtime", SECRET)
        async with Broadcaster(log=log) as broadcaster:
            await broadcaster.publish(channel, "x", 0)
            sizes = [1, 1, 101, 1, 101, 1]
            results = await asyncio.gather(
                *(broadcaster.publish(channel, "x", "x" * size) for size in sizes),
                return_exceptions=True,
            )
    offsets = [position_of(one).offset for one in results if isinstance(one, Receipt)]
    assert offsets == [2, 3, 4, 5]
    for error in (results[2], results[4]):
        assert isinstance(error, InvalidEventError)
        assert "REALTIME_LIMIT_EVENT_BYTES" in str(error)


async def test_large_batch_is_divided_into_calls(
    sender: WebSocketBackend, proxy: FaultyProxy, channel: str
) -> None:
    data = "x" * (APPEND_BYTES // 5)
    events = [Event(channel=channel, event="x", data=data) for _ in range(11)]
    receipts = await sender.append(events)
    assert [receipt.id for receipt in receipts] == [event.id for event in events]
    assert [position_of(receipt).offset for receipt in receipts] == [*range(1, 12)]


async def test_wrong_secret_fails_with_a_hint_and_redacted(
    server: ServeProcess, channel: str
) -> None:
    secret = "another secret, which is not the server's"
    with pytest.raises(BackendAuthError) as caught:
        async with Broadcaster(log=WebSocketBackend(server.url, secret)) as broadcaster:
            await broadcaster.publish(channel, "x", 1)
    assert "the same secret" in str(caught.value)
    assert server.url in str(caught.value)
    assert secret not in str(caught.value)
    assert DEVELOPMENT_SECRET not in str(caught.value)


async def welcome(connection: ServerConnection) -> None:
    """Send a nonce, and receive the worker's proof, as a server does."""
    await connection.send('{"nonce": "n"}')
    proof = orjson.loads(await connection.recv())["proof"]
    assert len(proof) == 64


class ServerOfAnotherTime:
    """Server whose clock is some seconds ahead; it checks signatures, and answers no positions."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._signatures = Signatures(DEVELOPMENT_SECRET)
        self.refusals = 0

    def check(self, connection: ServerConnection, request: WSRequest) -> WSResponse | None:
        headers, now = request.headers, time.time() + self._seconds
        timestamp, signature = headers["Realtime-Timestamp"], headers["Realtime-Signature"]
        try:
            self._signatures.check(timestamp, signature, b"", now=now)
        except SignatureError as error:
            self.refusals += 1
            fields = {"code": error.code, "message": str(error), "time": round(now * 1_000)}
            return connection.respond(401, orjson.dumps({"error": fields}).decode())
        return None

    async def answer(self, connection: ServerConnection) -> None:
        await welcome(connection)
        async for call in connection:
            number = orjson.loads(call)["number"]
            await connection.send(orjson.dumps({"number": number, "positions": {}}).decode())


@asynccontextmanager
async def clock_ahead(seconds: float) -> AsyncIterator[tuple[ServerOfAnotherTime, str]]:
    other = ServerOfAnotherTime(seconds)
    async with serve(other.answer, "127.0.0.1", 0, process_request=other.check) as running:
        port = next(iter(running.sockets)).getsockname()[1]
        yield other, f"http://127.0.0.1:{port}/realtime"


@pytest.mark.parametrize("seconds", [400, -400])
async def test_worker_signs_with_the_servers_time_after_a_refusal(
    seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    async with clock_ahead(seconds) as (other, url):
        async with WebSocketBackend(url, DEVELOPMENT_SECRET) as backend:
            assert await backend.positions([]) == {}
            _, clock = await backend.check()
        assert (other.refusals, clock.status) == (1, "warning")
        assert f"{seconds:+.0f} s away" in clock.detail
        assert "clock corrected: " in caplog.text


async def test_worker_days_off_is_refused_with_both_clocks_named() -> None:
    async with clock_ahead(10 * 86_400) as (other, url):
        async with WebSocketBackend(url, DEVELOPMENT_SECRET) as backend:
            with pytest.raises(BackendAuthError, match="check both clocks"):
                await backend.positions([])
        assert other.refusals == 1


async def test_worker_of_a_rotation_signs_with_the_first_secret(server: ServeProcess) -> None:
    other = "x" * 32
    async with WebSocketBackend(server.url, f"{DEVELOPMENT_SECRET}, {other}") as backend:
        assert await backend.positions([]) == {}
    async with WebSocketBackend(server.url, f"{other},{DEVELOPMENT_SECRET}") as backend:
        with pytest.raises(BackendAuthError, match="the same secret"):
            await backend.positions([])


async def test_unreachable_server_error_names_url_and_command(
    proxy: FaultyProxy, channel: str
) -> None:
    proxy.refuse()
    address = proxy.url.replace("http://", "http://ada:password@")
    async with WebSocketBackend(f"{address}/realtime", DEVELOPMENT_SECRET) as backend:
        with pytest.raises(BackendUnavailableError) as caught:
            await backend.append(numbered(channel, 1))
    assert f"{proxy.url}/realtime" in str(caught.value)
    assert "`realtime-bridge serve`" in str(caught.value)
    assert "password" not in str(caught.value)
    assert caught.value.retryable


async def test_wrong_path_is_not_retried(server: ServeProcess, channel: str) -> None:
    url = f"http://127.0.0.1:{server.port}/elsewhere"
    async with WebSocketBackend(url, DEVELOPMENT_SECRET) as backend:
        with pytest.raises(
            BackendUnavailableError, match="check that the bridge is mounted there"
        ) as caught:
            await backend.append(numbered(channel, 1))
    assert not caught.value.retryable


async def test_silent_server_times_out_and_is_reconnected(
    broadcaster: Broadcaster, proxy: FaultyProxy, channel: str
) -> None:
    await broadcaster.publish(channel, "x", 1)
    impatient = Broadcaster(log=broadcaster.log, timing=PublishTiming(call_seconds=0.3))
    proxy.swallow()
    with pytest.raises(BackendUnavailableError) as caught:
        async with asyncio.timeout(TIMEOUT):
            await impatient.publish(channel, "x", 2, id="two")
    assert proxy.url in str(caught.value)
    assert "Publishing the same id again is safe" in str(caught.value)
    proxy.heal()
    receipt = await broadcaster.publish(channel, "x", 2, id="two")
    assert (position_of(receipt).offset, receipt.duplicate) == (2, False)


@pytest.mark.parametrize("call", ["append", "read", "positions", "latest", "rotate"])
async def test_every_call_over_silent_link_has_a_deadline(
    proxy: FaultyProxy, channel: str, call: str
) -> None:
    timing = WebSocketTiming(call_seconds=0.4, connect_seconds=0.2)
    url = f"{proxy.url}/realtime"
    async with WebSocketBackend(url, DEVELOPMENT_SECRET, timing=timing) as log:
        top = (await log.positions([channel]))[channel]
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "append": lambda: log.append(numbered(channel, 1)),
            "read": lambda: log.read(channel, top),
            "positions": lambda: log.positions([channel]),
            "latest": lambda: log.latest(channel),
            "rotate": lambda: log.rotate_epoch(channel, top.epoch),
        }
        proxy.swallow("down")
        async with asyncio.timeout(3):
            with pytest.raises(BackendUnavailableError, match=r"within 0\.4 s"):
                await calls[call]()
        proxy.heal()
        assert channel in await log.positions([channel])


async def test_cancelled_call_keeps_a_working_connection(
    broadcaster: Broadcaster, proxy: FaultyProxy, channel: str
) -> None:
    await broadcaster.publish(channel, "x", 0)
    publishing = [asyncio.create_task(broadcaster.publish(channel, "x", n)) for n in range(1, 50)]
    await asyncio.wait({publishing[5]})
    publishing[-1].cancel()
    receipts = await asyncio.gather(*publishing[:-1])
    assert [position_of(receipt).offset for receipt in receipts] == [*range(2, 50)]


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"])
async def test_environment_proxy_is_not_used_for_loopback(
    server: ServeProcess, channel: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with WebSocketBackend(server.url, DEVELOPMENT_SECRET) as backend:
        (receipt,) = await backend.append(numbered(channel, 1))
    assert position_of(receipt).offset == 1


class Publisher:
    """Publisher of one event after another; it retries each until it has a receipt."""

    def __init__(self, url: str, channel: str) -> None:
        self._log = WebSocketBackend(url, DEVELOPMENT_SECRET)
        self._channel = channel
        self._changed = asyncio.Condition()
        self.receipts: list[Receipt] = []
        self.failures = 0

    @property
    def epochs(self) -> dict[str, list[Receipt]]:
        by_epoch: dict[str, list[Receipt]] = defaultdict(list)
        for receipt in self.receipts:
            by_epoch[position_of(receipt).epoch].append(receipt)
        return by_epoch

    async def publish(self) -> None:
        timing = PublishTiming(retry_delay=lambda _: 0.05)
        async with Broadcaster(log=self._log, timing=timing) as broadcaster:
            number = 0
            while True:
                number += 1
                self.receipts.append(await self._publish(broadcaster, number))
                async with self._changed:
                    self._changed.notify_all()

    async def _publish(self, broadcaster: Broadcaster, number: int) -> Receipt:
        while True:
            try:
                return await broadcaster.publish(self._channel, "x", number, id=f"id-{number}")
            except PublishError as error:
                if not error.retryable:
                    raise
                self.failures += 1

    async def wait_for_receipts(self, count: int, *, epochs: int) -> None:
        """Wait until the latest of so many epochs has `count` receipts."""
        async with asyncio.timeout(TIMEOUT), self._changed:
            await self._changed.wait_for(
                lambda: len(self.epochs) == epochs and len([*self.epochs.values()][-1]) >= count
            )


async def test_restarted_server_neither_loses_nor_repeats(channel: str, tmp_path: Path) -> None:
    with ServeProcess("--dev", folder=tmp_path) as first:
        publisher = Publisher(first.url, channel)
        publishing = asyncio.create_task(publisher.publish())
        await publisher.wait_for_receipts(50, epochs=1)
        first.kill()
    with await asyncio.to_thread(ServeProcess, "--dev", folder=tmp_path, port=first.port):
        await publisher.wait_for_receipts(50, epochs=2)
        publishing.cancel()
        await asyncio.wait({publishing})
        before, after = publisher.epochs.values()
        for receipts in (before, after):
            assert [position_of(receipt).offset for receipt in receipts] == [
                *range(1, len(receipts) + 1)
            ]
            assert len({receipt.id for receipt in receipts}) == len(receipts)
        assert [receipt.id for receipt in publisher.receipts] == [
            f"id-{n}" for n in range(1, len(publisher.receipts) + 1)
        ]
        async with WebSocketBackend(first.url, DEVELOPMENT_SECRET) as log:
            page = await log.read(channel, Position(position_of(after[0]).epoch, 0))
        assert isinstance(page, Page)
        ids = [event.id for event in page.events]
        assert len(ids) == len(set(ids))
        assert ids[: len(after)] == [receipt.id for receipt in after][: len(ids)]


async def test_restart_between_publishes_causes_no_error(channel: str, tmp_path: Path) -> None:
    with ServeProcess("--dev", folder=tmp_path) as first:
        log = WebSocketBackend(first.url, DEVELOPMENT_SECRET)
        async with Broadcaster(log=log) as broadcaster:
            before = await broadcaster.publish(channel, "x", 1)
            await asyncio.to_thread(first.kill)
            with await asyncio.to_thread(ServeProcess, "--dev", folder=tmp_path, port=first.port):
                after = await broadcaster.publish(channel, "x", 2)
    assert position_of(before).offset == position_of(after).offset == 1
    assert position_of(before).epoch != position_of(after).epoch


async def events_of(program: str, count: int, server: ServeProcess, folder: Path) -> list[Event]:
    """Run a program that publishes, and return the events that a client receives."""
    channel = new_channel()
    token = Tokens(DEVELOPMENT_SECRET, issuer="realtime").issue("ada", channels=[channel])
    events: list[Event] = []
    async with (
        asyncio.timeout(TIMEOUT),
        HybridClient(server.url, [channel], token=token) as client,
    ):
        await client.wait_subscribed()
        running = asyncio.create_task(asyncio.to_thread(run, program, channel, server, folder))
        async for item in client:
            assert isinstance(item, Event)
            events.append(item)
            if len(events) == count:
                break
        await running
    async with WebSocketBackend(server.url, DEVELOPMENT_SECRET) as log:
        assert (await log.positions([channel]))[channel].offset == count
    assert [event.position.offset for event in events if event.position] == [*range(1, count + 1)]
    return events


def run(program: str, channel: str, server: ServeProcess, folder: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", program, channel],
        cwd=folder,
        env=environment({"REALTIME_WEBSOCKET_URL": server.url}),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")


async def test_forked_children_publish_from_threads_in_order(
    server: ServeProcess, tmp_path: Path
) -> None:
    first, *others = await events_of(FORKING, 1_001, server, tmp_path)
    assert first.event == "first"
    by_thread: dict[tuple[int, int], list[int]] = defaultdict(list)
    for event in others:
        child, thread, number = event.data
        by_thread[child, thread].append(number)
    assert sorted(by_thread) == [(child, thread) for child in range(4) for thread in range(2)]
    assert all(numbers == [*range(125)] for numbers in by_thread.values())


async def test_forked_pool_uses_an_inherited_broadcaster(
    server: ServeProcess, tmp_path: Path
) -> None:
    events = await events_of(POOL, 102, server, tmp_path)
    assert [event.event for event in events] == ["first", *["step"] * 100, "last"]
    assert sorted(event.data[2] for event in events[1:-1]) == [*range(100)]


async def test_unreadable_answer_is_a_lost_connection(caplog: pytest.LogCaptureFixture) -> None:
    answers = [b"no JSON", b"[1]"]

    async def answer(socket: ServerConnection) -> None:
        await welcome(socket)
        call = orjson.loads(await socket.recv())
        good = orjson.dumps({"number": call["number"], "positions": {}})
        await socket.send(answers.pop(0) if answers else good)
        await socket.wait_closed()

    async with serve(answer, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with WebSocketBackend(f"http://127.0.0.1:{port}", "a secret") as log:
            for _ in range(2):
                with pytest.raises(BackendUnavailableError, match="closed the connection"):
                    await log.positions([])
            assert await log.positions([]) == {}
    assert caplog.text.count("background work failed work=answers of the server") == 2
