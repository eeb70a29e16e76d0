"""Outlets: events of real logs at real HTTP servers, with faults."""

import asyncio
import json
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import test_utils, web

from realtime_bridge import Broadcaster, ConfigurationError, Event
from realtime_bridge.backend.listable_log import ListableLog
from realtime_bridge.backend.log import Log
from realtime_bridge.errors import BackendUnavailableError
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.model.retention import Retention
from realtime_bridge.model.webhook_secrets import signing_keys
from realtime_bridge.protocol.outlets.timing import OutletTiming
from realtime_bridge.protocol.outlets.webhook import Webhook
from realtime_bridge.server import Bridge
from realtime_bridge.server.outlets.delivery import OutletDelivery
from realtime_bridge.server.outlets.lease import DelivererLease
from realtime_bridge.server.outlets.outlet import Outlet
from realtime_bridge.server.outlets.outlets import Outlets
from realtime_bridge.server.outlets.sender import DeliveryError, WebhookSender, standard_webhook
from realtime_bridge.server.statistics import OutletCounts
from realtime_bridge.server.timing import ServerTiming
from realtime_bridge.settings import Settings
from realtime_bridge.testing.contracts.samples import TRACEPARENT
from realtime_bridge_backends.memory import MemoryBackend
from realtime_bridge_backends.postgres import PostgresBackend
from realtime_bridge_backends.redis import RedisBackend
from realtime_bridge_backends.sqlite import SQLiteBackend
from tests.cli.processes import COMMAND, environment
from tests.server.fakes import SlowLog
from tests.server.harness import context_of, make_bridge, make_settings, until
from tests.server.outlets.target import SECRET, TIMEOUT, Target
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer

EVENTS = 10_000 if os.environ.get("FULL_LOAD") else 300
FAST = OutletTiming(scan_seconds=0.05, retry_seconds=0.02, longest_retry_seconds=0.2)
NODE = str(Path(COMMAND).with_name("node"))
CLIENT = Path(__file__).parents[3] / "clients" / "js"


def bridge_on(log: Log, timing: OutletTiming = FAST, **options: Any) -> Bridge:
    options = {"outlet_secret": SECRET, "outlet_private": True, **options}
    return make_bridge(with_log=log, timing=ServerTiming(outlets=timing, restart=0.05), **options)


@pytest.fixture(params=["memory", "sqlite", "redis", "postgres"])
def each_log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    with ExitStack() as services:
        if request.param == "memory":
            yield MemoryBackend()
        elif request.param == "sqlite":
            yield SQLiteBackend(tmp_path / "log.db")
        elif request.param == "redis":
            redis = services.enter_context(RedisServer(tmp_path / "redis", "--save", ""))
            yield RedisBackend(redis.url)
        else:
            postgres = services.enter_context(PostgresServer())
            yield PostgresBackend(postgres.database())


@pytest.fixture
async def log() -> AsyncIterator[MemoryBackend]:
    async with MemoryBackend(Retention(events=20_000, bytes=1 << 30)) as memory:
        yield memory


async def publish(bridge: Bridge, channel: str, numbers: Iterable[int]) -> None:
    for number in numbers:
        await bridge.publish(channel, "counted", number)


async def test_events_arrive_in_order_from_each_log(each_log: Log) -> None:
    bridge = bridge_on(each_log)
    async with Target() as target:
        bridge.outlet(target.url, events=["counted"])
        async with bridge:
            channels = [f"outlet.{number}" for number in range(3)]
            for channel in channels:
                await publish(bridge, channel, range(20))
                await bridge.publish(channel, "ignored", "x")
            await target.until_accepted(60)
        assert target.data() == {channel: list(range(20)) for channel in channels}
        first = target.accepted[0]
        assert (first["type"], first["key"]) == ("counted", None)
        assert first["position"].endswith(":1")


async def test_webhook_has_the_trace_context_of_the_publish(log: MemoryBackend) -> None:
    bridge = bridge_on(log)
    async with Target() as target:
        bridge.outlet(target.url)
        async with bridge:
            for traceparent in (TRACEPARENT, None):
                event = Event(channel="job.7", event="a", data=1, traceparent=traceparent)
                await bridge.publish_many([event])
            await target.until_accepted(2)
    assert [headers.get("traceparent") for headers in target.headers] == [TRACEPARENT, None]


async def test_restarted_server_continues_after_the_last_event(tmp_path: Path) -> None:
    async with Target() as target:
        for first in (0, 10):
            bridge = bridge_on(SQLiteBackend(tmp_path / "log.db"))
            bridge.outlet(target.url)
            async with bridge:
                await publish(bridge, "job.7", range(first, first + 10))
                await target.until_accepted(first + 10)
                await until_stored(bridge, "job.7")
        assert [one["data"] for one in target.accepted] == list(range(20))


async def until_stored(bridge: Bridge, channel: str) -> None:
    """Wait until the outlet's position is the top of a channel."""
    log = context_of(bridge).pipeline.log
    assert isinstance(log, ListableLog)
    top = (await log.positions([channel]))[channel]
    async with asyncio.timeout(10):
        while True:
            names = [name for name in await log.channels() if name.startswith("@realtime.outlet.")]
            pages = [await log.latest(name) for name in names]
            stored = {event.key: event.data for page in pages for event in page.events}
            if channel in stored and Position.from_json(stored[channel]) == top:
                return
            await asyncio.sleep(0.02)


async def test_bad_targets_hold_up_no_other(log: MemoryBackend) -> None:
    draw = random.Random(1)
    down = Target()
    await down.start()
    await down.stop()
    channels = [f"job.{number}" for number in range(8)]
    async with Target() as healthy, Target(lambda: draw.choice((200, 500))) as flaky:
        bridge = bridge_on(log)
        for target in (down, flaky, healthy):
            bridge.outlet(target.url)
        async with bridge:
            for number in range(EVENTS):
                await bridge.publish(channels[number % 8], "counted", number)
            await healthy.until_accepted(EVENTS)
            assert not down.accepted
            await down.start()
            for target in (flaky, down):
                await target.until_accepted(EVENTS)
        await down.stop()
        expected = {name: list(range(i, EVENTS, 8)) for i, name in enumerate(channels)}
        for target in (healthy, flaky, down):
            assert target.data() == expected


async def test_failing_target_is_one_log_line_and_no_fault_of_the_server(
    log: MemoryBackend, caplog: pytest.LogCaptureFixture
) -> None:
    answers = iter([500] * 5)
    async with Target(lambda: next(answers, 200)) as target:
        bridge = bridge_on(
            log, OutletTiming(scan_seconds=0.05, retry_seconds=0.02, quiet_seconds=0)
        )
        bridge.outlet(target.url + "?token=hush")
        with caplog.at_level(logging.WARNING, "realtime_bridge.outlets"):
            async with bridge:
                await bridge.publish("job.7", "counted", 1)
                await target.until_accepted(1)
                assert context_of(bridge).failing == []
                await until(lambda: len(caplog.messages) == 2)
                (counts,) = context_of(bridge).connections.statistics.outlets
                assert (counts.delivered, counts.failures, counts.missed) == (1, 5, 0)
    start, end = caplog.messages
    assert start.startswith("outlet failed outlet=http://127.0.0.1:")
    assert "answered 500" in start
    assert end.startswith("outlet works again")
    assert "hush" not in caplog.text


async def test_events_that_the_log_removed_are_counted_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    is_down = False
    async with (
        MemoryBackend(Retention(events=5)) as log,
        Target(lambda: 500 if is_down else 200) as target,
    ):
        bridge = bridge_on(log)
        bridge.outlet(target.url)
        async with bridge:
            await publish(bridge, "job.7", [0])
            await target.until_accepted(1)
            is_down = True
            await publish(bridge, "job.7", range(1, 21))
            await target.until(lambda: target.requests > 1)
            is_down = False
            await target.until_accepted(6)
            (counts,) = context_of(bridge).connections.statistics.outlets
            assert counts.missed == 15
    assert target.data() == {"job.7": [0, 16, 17, 18, 19, 20]}
    assert "outlet misses events" in caplog.text


async def test_channel_that_was_quiet_loses_no_event_and_expired_ones_are_counted() -> None:
    now, is_down = 1_000.0, False
    async with (
        MemoryBackend(clock=lambda: now) as log,
        Target(lambda: 500 if is_down else 200) as target,
    ):
        bridge = bridge_on(log)
        bridge.outlet(target.url)
        async with bridge:
            await publish(bridge, "job.7", [0, 1])
            await target.until_accepted(2)
            now += 700  # its events expire; its position has to stay
            await publish(bridge, "job.8", [0])
            await target.until_accepted(3)
            await publish(bridge, "job.7", [2])
            await target.until_accepted(4)
            is_down = True
            await publish(bridge, "job.7", [3])
            await target.until(lambda: target.requests > 4)
            now += 700
            (counts,) = context_of(bridge).connections.statistics.outlets
            await until(lambda: counts.missed == 1)
    assert target.data() == {"job.7": [0, 1, 2], "job.8": [0]}


async def test_new_epoch_is_delivered_from_its_start(log: MemoryBackend) -> None:
    async with Target() as target:
        bridge = bridge_on(log)
        bridge.outlet(target.url)
        async with bridge:
            await publish(bridge, "job.7", range(3))
            await target.until_accepted(3)
            await log.rotate_epoch("job.7", (await bridge.position("job.7")).epoch)
            await publish(bridge, "job.7", range(3, 6))
            await target.until_accepted(6)
        assert target.data() == {"job.7": list(range(6))}


async def test_one_server_of_two_delivers_and_the_other_takes_over(tmp_path: Path) -> None:
    async with Target() as target, AsyncExitStack() as servers:
        bridges = [bridge_on(SQLiteBackend(tmp_path / "log.db")) for _ in range(2)]
        for bridge in bridges:
            bridge.outlet(target.url)
        await servers.enter_async_context(bridges[1])
        async with bridges[0]:
            await publish(bridges[0], "job.7", range(20))
            await target.until_accepted(20)
            assert len(target.accepted) == 20
        # A stop releases the lease: the other one does not wait until it runs out.
        await publish(bridges[1], "job.7", range(20, 40))
        await target.until_accepted(40)
        assert target.data() == {"job.7": list(range(40))}


async def test_events_survive_a_kill_of_the_server_that_delivers(tmp_path: Path) -> None:
    async with Target() as target, SQLiteBackend(tmp_path / "log.db") as log:
        writer = Broadcaster(log=log)
        first = await start_server(tmp_path, target.url)
        for number in range(100):
            await writer.publish(f"job.{number % 4}", "counted", number)
        await target.until_accepted(20)
        first.send_signal(signal.SIGKILL)
        await first.wait()
        for number in range(100, 200):
            await writer.publish(f"job.{number % 4}", "counted", number)
        second = await start_server(tmp_path, target.url)
        await target.until_accepted(200)
        second.terminate()
        await second.wait()
        assert target.data() == {f"job.{i}": list(range(i, 200, 4)) for i in range(4)}


async def start_server(folder: Path, url: str) -> asyncio.subprocess.Process:
    """Start a server that shares the log in this folder, and delivers to a URL."""
    variables = {
        "REALTIME_SQLITE_PATH": str(folder / "log.db"),
        "REALTIME_LOG": "sqlite",
        "REALTIME_OUTLET_SECRET": SECRET,
        "REALTIME_OUTLET_PRIVATE": "on",
        "REALTIME_SECRET": "a secret for tests of more than 32 bytes",
    }
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.server.outlets.app", url),
        env=environment(variables),
        cwd=Path(__file__).parents[3],
    )


async def stored(log: MemoryBackend) -> Event:
    event = Event(channel="job.7", event="counted", data=1)
    (receipt,) = await log.append([event])
    return event.with_position(receipt.position, 1)


async def test_one_of_many_servers_gets_each_term_of_the_lease(tmp_path: Path) -> None:
    async with SQLiteBackend(tmp_path / "log.db") as log:
        for _ in range(3):
            leases = [DelivererLease(log, 5) for _ in range(20)]
            winners = await asyncio.gather(*(lease.acquire() for lease in leases))
            assert winners.count(True) == 1
            winner = leases[winners.index(True)]
            assert await winner.renew()
            assert not await leases[0].acquire()
            await winner.release()


async def test_lease_of_a_silent_server_ends() -> None:
    now = 1_000.0
    async with MemoryBackend(clock=lambda: now) as log:
        silent, next_one = DelivererLease(log, 5), DelivererLease(log, 5)
        assert await silent.acquire()
        now += 4
        assert await silent.renew()
        now += 4
        assert not await next_one.acquire()
        now += 2
        assert await next_one.acquire()
        assert not await silent.renew()


async def test_redirect_is_not_followed(log: MemoryBackend) -> None:
    keys = signing_keys(SECRET)
    async with (
        Target(lambda: 307) as target,
        WebhookSender(standard_webhook(keys), seconds=5, private=True) as sender,
    ):
        with pytest.raises(DeliveryError, match="answered 307"):
            await sender.send(Outlet(target.url), await stored(log))
        assert target.requests == 1


async def test_damaged_answer_is_accepted_and_not_unpacked(log: MemoryBackend) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=b"no gzip", headers={"content-encoding": "gzip"})

    async with (
        test_utils.TestServer(_site(answer)) as target,
        WebhookSender(standard_webhook([b"k"]), seconds=5, private=True) as sender,
    ):
        await sender.send(Outlet(str(target.make_url("/hook"))), await stored(log))


def _site(answer: Callable[[web.Request], Awaitable[web.Response]]) -> web.Application:
    site = web.Application()
    site.router.add_post("/hook", answer)
    return site


@pytest.mark.parametrize(
    ("header", "seconds"), [("30", 30), ("99999", 60), ("Wed, 21 Oct 2026 07:28:00 GMT", 0)]
)
async def test_target_that_asks_for_a_pause_gets_it(
    log: MemoryBackend, header: str, seconds: float
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=429, headers={"retry-after": header})

    async with (
        test_utils.TestServer(_site(answer)) as target,
        WebhookSender(standard_webhook([b"k"]), seconds=TIMEOUT, private=True) as sender,
    ):
        await stored(log)
        outlet, counts = Outlet(str(target.make_url("/hook"))), OutletCounts()
        delivery = OutletDelivery(outlet, log, sender, counts, OutletTiming())
        delivery.queue.update(await log.positions(["job.7"]))
        start = time.monotonic()
        worker = asyncio.ensure_future(delivery.work())
        await until(lambda: counts.failures)
        await until(delivery.queue.next_retry)
        due = delivery.queue.next_retry()
        assert due
        assert start + max(seconds, 0.5) <= due <= time.monotonic() + max(seconds, 1)
        worker.cancel()
        await asyncio.wait([worker])


async def test_event_that_fails_for_too_long_is_given_up(
    log: MemoryBackend, caplog: pytest.LogCaptureFixture
) -> None:
    answers = iter([500, 500])

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=next(answers, 200))

    timing = OutletTiming(retry_seconds=0.01, give_up_seconds=0.0)
    async with (
        test_utils.TestServer(_site(answer)) as target,
        WebhookSender(standard_webhook([b"k"]), seconds=TIMEOUT, private=True) as sender,
    ):
        await log.append([Event(channel="job.7", event="counted", data=i) for i in range(3)])
        counts = OutletCounts()
        outlet = Outlet(str(target.make_url("/hook")))
        delivery = OutletDelivery(outlet, log, sender, counts, timing)
        delivery.queue.update(await log.positions(["job.7"]))
        worker = asyncio.ensure_future(delivery.work())
        await until(lambda: counts.delivered)
        worker.cancel()
        await asyncio.wait([worker])
    assert (counts.delivered, counts.missed, counts.failures) == (1, 2, 0)
    assert caplog.text.count("failed for too long") == 2
    assert "/hook" not in caplog.text


class _FailingPositions(MemoryBackend):
    """Log that stores no positions of outlets."""

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        if events[0].event == "outlet.position":
            raise BackendUnavailableError("no position is stored in a test")
        return await super().append(events)


async def test_worker_ends_by_one_cancellation_while_the_log_fails() -> None:
    answers = iter([200])
    blocked = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        if next(answers, None) is None:
            blocked.set()
            await asyncio.Event().wait()
        return web.Response()

    async with _FailingPositions() as log, test_utils.TestServer(_site(answer)) as target:
        await log.append([Event(channel="job.7", event="counted", data=i) for i in range(2)])
        async with WebhookSender(standard_webhook([b"k"]), seconds=TIMEOUT, private=True) as sender:
            outlet = Outlet(str(target.make_url("/hook")))
            delivery = OutletDelivery(outlet, log, sender, OutletCounts(), FAST)
            delivery.queue.update(await log.positions(["job.7"]))
            worker = asyncio.ensure_future(delivery.work())
            await blocked.wait()
            worker.cancel()
            async with asyncio.timeout(TIMEOUT):
                await asyncio.wait([worker])
            assert worker.cancelled()


async def test_silent_target_fails_after_its_time(log: MemoryBackend) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts no connection
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with WebhookSender(standard_webhook([b"k"]), seconds=0.05, private=True) as sender:
            with pytest.raises(DeliveryError, match=r"did not answer within 0\.05 s"):
                await sender.send(Outlet(url), await stored(log))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"])
async def test_private_address_is_refused(log: MemoryBackend, host: str) -> None:
    async with (
        Target() as target,
        WebhookSender(standard_webhook([b"k"]), seconds=5, private=False) as sender,
    ):
        with pytest.raises(DeliveryError, match="is no public address"):
            await sender.send(Outlet(f"http://{host}:{target.port}/"), await stored(log))
        assert target.requests == 0


async def test_name_that_changes_to_a_private_address_is_refused(
    log: MemoryBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check is of the address that is connected to: a name may be public, and then not."""
    answers = iter(["203.0.113.1", "8.8.8.8", "127.0.0.1"])
    connected: list[Any] = []

    async def resolve(host: str, port: int, **_: Any) -> list[Any]:
        assert host == "rebinding.example"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    async def connect(_sock: socket.socket, address: Any) -> None:
        connected.append(address[0])
        raise OSError("no route in a test")

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "getaddrinfo", resolve)
    monkeypatch.setattr(loop, "sock_connect", connect)
    event = await stored(log)
    for error in ("203.0.113.1 is no public", "no route in a test", "127.0.0.1 is no public"):
        async with WebhookSender(standard_webhook([b"k"]), seconds=5, private=False) as sender:
            with pytest.raises(DeliveryError, match=error):
                await sender.send(Outlet("http://rebinding.example/"), event)
    assert connected == ["8.8.8.8"]


def test_package_for_node_verifies_a_signature(tmp_path: Path) -> None:
    event = Event.from_trusted(
        "job.7", "counted", b'"\xc3\xa4"', id="one", key=None, source=None, time=1, position=None
    )
    webhook = Webhook.of(event)
    old = signing_keys("whsec_" + "b2xkIHNlY3JldCBvZiB0ZXN0cywgMzIgYnl0ZXMgbG9uZw==")
    headers = webhook.headers([*old, *signing_keys(SECRET)], time.time())
    program = """
        import { Webhook } from 'standardwebhooks';
        const { body, headers, secret } = JSON.parse(process.argv[1]);
        console.log(new Webhook(secret).verify(body, headers).data);
        try {
          new Webhook(secret).verify(body + ' ', headers);
        } catch (error) { console.log(error.name); }
    """
    arguments = {"body": webhook.body.decode(), "headers": headers, "secret": SECRET}
    done = subprocess.run(
        [NODE, "--input-type=module", "--eval", program, json.dumps(arguments)],
        cwd=CLIENT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["ä", "WebhookVerificationError"]


def test_id_differs_between_channels_and_stays_in_another_epoch() -> None:
    def webhook_id(channel: str, epoch: str) -> str:
        position = Position(epoch, 1)
        fields: Any = {"id": "one", "key": None, "source": None, "time": 1, "position": position}
        return Webhook.of(Event.from_trusted(channel, "counted", b"1", **fields)).id

    assert webhook_id("a", "00000000") == webhook_id("a", "00000001")
    assert webhook_id("a", "00000000") != webhook_id("b", "00000000")


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://example.com/hook", "use an https URL; for a trial"),
        ("ftp://example.com/hook", "use an https URL"),
        ("example.com/hook", "use an https URL"),
        ("https:///hook", "use an https URL"),
        ("https://user:hush@example.com/hook", "has a password in its URL"),
        ("http://example.com/hush", "cannot be delivered to http://example.com: use"),
        ("https://example.com:99999/hook", "use an https URL"),
        ("https://example.com:0/hook", "use an https URL"),
        ("https://example..com/hook", "use an https URL"),
        (f"https://{'a' * 64}.example/hook", "use an https URL"),
        ("https://one.example,two.example/hook", "use an https URL"),
    ],
)
def test_url_that_cannot_work_is_an_error(log: MemoryBackend, url: str, error: str) -> None:
    bridge = bridge_on(log, outlet_private=False)
    with pytest.raises(ConfigurationError, match=error) as caught:
        bridge.outlet(url)
    assert "hush" not in str(caught.value)


def test_mistakes_of_a_configuration_are_errors(log: MemoryBackend) -> None:
    with pytest.raises(ConfigurationError, match="REALTIME_OUTLET_SECRET is not set"):
        bridge_on(log, outlet_secret=None).outlet("https://example.com")
    bridge = bridge_on(log)
    with pytest.raises(ConfigurationError, match=r"write \['counted'\]"):
        bridge.outlet("https://example.com", events="counted")
    bridge.outlet("https://example.com")
    with pytest.raises(ConfigurationError, match="Two outlets have one URL"):
        bridge.outlet("https://example.com")
    with pytest.raises(ConfigurationError, match="Outlets need a log that lists its channels"):
        Outlets(make_settings(outlet_secret=SECRET), FAST).add(
            "https://example.com", None, "always", SlowLog()
        )


@pytest.mark.parametrize("secret", ["hush", "whsec_hush", "whsec_aHVzaA==", f"{SECRET},hush"])
def test_secret_of_another_form_is_an_error_without_it(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="REALTIME_OUTLET_SECRET: secret") as caught:
        Settings(outlet_secret=secret)
    assert "hush" not in str(caught.value)
