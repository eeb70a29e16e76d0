"""Blocking publisher: many threads, forked children, and the end of the process."""

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import pytest

from realtime_bridge import (
    BackendAuthError,
    BlockingBroadcaster,
    Broadcaster,
    ConfigurationError,
    Event,
    InvalidEventError,
    PublishError,
    Receipt,
)
from realtime_bridge.backend.log import TransactionalLog
from realtime_bridge.publishing.local_servers import register_local_server
from realtime_bridge.settings import Settings
from realtime_bridge.testing.contracts.samples import numbered
from realtime_bridge_backends.memory import MemoryBackend
from tests.cli.processes import environment
from tests.services.redis import RedisServer


class WatchedLog(MemoryBackend):
    """Log that records its threads, and whether it is open."""

    def __init__(self, failure: Exception | None = None) -> None:
        super().__init__()
        self.threads: set[str] = set()
        self.open = 0
        self._failure = failure

    async def __aenter__(self) -> Self:
        if self._failure:
            raise self._failure
        self.open += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self.open -= 1

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        self.threads.add(threading.current_thread().name)
        return await super().append(events)


class WaitingLog(WatchedLog):
    """Log that answers when the test allows it."""

    def __init__(self) -> None:
        super().__init__()
        self.called = threading.Event()
        self.allowed = threading.Event()

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        self.called.set()
        await asyncio.to_thread(self.allowed.wait)
        assert self.open, "the log was closed during a call"
        return await super().append(events)


def our_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "realtime-bridge"]


@pytest.fixture
def log() -> WatchedLog:
    return WatchedLog()


@pytest.fixture
def broadcaster(log: WatchedLog) -> Iterator[BlockingBroadcaster]:
    with BlockingBroadcaster(lambda: Broadcaster(log=log)) as broadcaster:
        yield broadcaster
    assert our_threads() == []


def offsets(receipts: Sequence[Receipt]) -> list[int]:
    return [receipt.position.offset for receipt in receipts if receipt.position]


def test_publishes_run_on_one_thread(log: WatchedLog, broadcaster: BlockingBroadcaster) -> None:
    first = broadcaster.publish("job.7", "job.progress", {"percent": 30}, id="one", key="k")
    rest = broadcaster.publish_many(numbered("job.7", 2))
    assert (first.id, offsets([first, *rest])) == ("one", [1, 2, 3])
    assert log.threads == {"realtime-bridge"}
    assert len(our_threads()) == 1


def test_first_publish_connects(log: WatchedLog, broadcaster: BlockingBroadcaster) -> None:
    assert (log.open, our_threads()) == (0, [])
    broadcaster.publish("job.7", "job.progress")
    assert log.open == 1


def test_many_threads_share_one_connection_and_lose_nothing(
    log: WatchedLog, broadcaster: BlockingBroadcaster
) -> None:
    ready = threading.Barrier(8)

    def publish() -> list[Receipt]:
        ready.wait()
        return [broadcaster.publish("job.7", "job.progress", n) for n in range(25)]

    with ThreadPoolExecutor(8) as threads:
        published = [task.result() for task in [threads.submit(publish) for _ in range(8)]]
    assert all(offsets(receipts) == sorted(offsets(receipts)) for receipts in published)
    assert sorted(offset for receipts in published for offset in offsets(receipts)) == [
        *range(1, 201)
    ]
    assert log.open == 1


def test_publish_after_close_starts_a_new_thread(
    log: WatchedLog, broadcaster: BlockingBroadcaster
) -> None:
    broadcaster.publish("job.7", "job.progress")
    broadcaster.close()
    broadcaster.close()
    assert (log.open, our_threads()) == (0, [])
    assert offsets([broadcaster.publish("job.7", "job.progress")]) == [2]
    assert log.open == 1


def test_close_waits_for_publishes_of_other_threads() -> None:
    log = WaitingLog()
    broadcaster = BlockingBroadcaster(lambda: Broadcaster(log=log))
    with ThreadPoolExecutor(2) as threads:
        publishing = threads.submit(broadcaster.publish, "job.7", "job.progress")
        assert log.called.wait(10)
        closing = threads.submit(broadcaster.close)
        log.allowed.set()
        assert offsets([publishing.result(10)]) == [1]
        closing.result(10)
    assert (log.open, our_threads()) == (0, [])


def test_errors_are_those_of_the_async_broadcaster(broadcaster: BlockingBroadcaster) -> None:
    with pytest.raises(InvalidEventError, match="Bad channel name"):
        broadcaster.publish("job 7", "job.progress")
    with pytest.raises(InvalidEventError, match="over 500 events"):
        broadcaster.publish_many(numbered("job.7", 501))
    assert offsets([broadcaster.publish("job.7", "job.progress")]) == [1]


def test_endless_batch_is_refused(broadcaster: BlockingBroadcaster) -> None:
    endless = (Event(channel="job.7", event="job.progress", data=1) for _ in itertools.count())
    with pytest.raises(InvalidEventError, match="over 500 events"):
        broadcaster.publish_many(endless)


@pytest.mark.parametrize("channel", [None, 7, b"job.7"])
def test_channel_that_is_no_text_is_named(broadcaster: BlockingBroadcaster, channel: Any) -> None:
    name = type(channel).__name__
    with pytest.raises(InvalidEventError, match=rf"^The channel is a {name}: pass its name"):
        broadcaster.publish(channel, "job.progress", 1)


def test_signal_handler_publishes_during_the_first_publish() -> None:
    logs: list[WatchedLog] = []

    def create() -> Broadcaster:
        logs.append(WatchedLog())
        if len(logs) == 1:
            signal.raise_signal(signal.SIGUSR1)
        return Broadcaster(log=logs[-1])

    broadcaster = BlockingBroadcaster(create)
    from_handler: list[Receipt] = []

    def handle(*_: object) -> None:
        from_handler.append(broadcaster.publish("job.7", "job.failed"))

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        with broadcaster:
            receipt = broadcaster.publish("job.7", "job.progress")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert offsets([*from_handler, receipt]) == [1, 2]
    assert ([log.open for log in logs], our_threads()) == ([0, 0], [])


def test_failed_start_leaves_no_thread_and_is_repeated() -> None:
    logs = [WatchedLog(BackendAuthError("bad signature")), WatchedLog()]
    broadcaster = BlockingBroadcaster(lambda: Broadcaster(log=logs.pop(0)))
    with pytest.raises(BackendAuthError, match="bad signature"):
        broadcaster.publish("job.7", "job.progress")
    assert our_threads() == []
    with broadcaster:
        assert offsets([broadcaster.publish("job.7", "job.progress")]) == [1]


async def test_publish_on_the_servers_loop_is_refused() -> None:
    settings = Settings(backend="memory", prefix="served")
    log = WatchedLog()
    with (
        register_local_server("served", Broadcaster(log=log)),
        BlockingBroadcaster(lambda: Broadcaster.from_settings(settings)) as broadcaster,
    ):
        with pytest.raises(PublishError, match=r"use `await bridge\.publish"):
            broadcaster.publish("job.7", "job.progress")
        assert our_threads() == []
        receipt = await asyncio.to_thread(broadcaster.publish, "job.7", "job.progress")
        with pytest.raises(PublishError, match=r"use `await bridge\.publish"):
            broadcaster.publish("job.7", "job.progress")
    assert (await log.positions(["job.7"]))["job.7"] == receipt.position


def test_first_publish_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_BACKEND", "memry")
    broadcaster = BlockingBroadcaster.from_env()
    with pytest.raises(ConfigurationError, match="Did you mean 'memory'"):
        broadcaster.publish("job.7", "job.progress")
    monkeypatch.setenv("REALTIME_BACKEND", "memory")
    with broadcaster:
        assert offsets([broadcaster.publish("job.7", "job.progress")]) == [1]


def test_check_reads_the_environment_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_BACKEND", "memry")
    with pytest.raises(ConfigurationError, match="Did you mean 'memory'"):
        BlockingBroadcaster.from_env(check=True)
    monkeypatch.setenv("REALTIME_BACKEND", "null")
    monkeypatch.setenv("REALTIME_LOG", "none")
    with BlockingBroadcaster.from_env(check=True) as broadcaster:
        assert broadcaster.publish("job.7", "job.progress", id="one") == Receipt(id="one")


def in_child(work: Callable[[], Any]) -> Any:
    """Run `work` in a forked child, and return its result."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writing, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        result = answer.read()
    os.waitpid(child, 0)
    assert result, "the child failed"
    return json.loads(result)


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_forked_child_has_its_own_thread_and_connection() -> None:
    opened: list[WatchedLog] = []

    def make() -> Broadcaster:
        opened.append(WatchedLog())
        return Broadcaster(log=opened[-1])

    def publish() -> dict[str, Any]:
        with ThreadPoolExecutor(2) as threads:
            tasks = [threads.submit(publisher.publish, "job.7", "job.step") for _ in range(10)]
            published = offsets([task.result(10) for task in tasks])
        return {
            "offsets": sorted(published),
            "threads": len(our_threads()),
            "opened": len(opened),
            "inherited": opened[0].open,
            "grandchild": in_child(lambda: offsets([publisher.publish("job.7", "job.step")])),
        }

    publisher = BlockingBroadcaster(make)
    with publisher:
        publisher.publish("job.7", "job.step")
        for _ in range(2):
            assert in_child(publish) == {
                "offsets": [*range(1, 11)],
                "threads": 1,
                "opened": 2,
                "inherited": 1,
                "grandchild": [1],
            }
        assert offsets([publisher.publish("job.7", "job.step")]) == [2]
        assert len(opened) == 1


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_child_forked_during_a_publish_is_not_blocked() -> None:
    logs: list[WatchedLog] = [WaitingLog(), WatchedLog()]
    waiting = logs[0]
    assert isinstance(waiting, WaitingLog)
    broadcaster = BlockingBroadcaster(lambda: Broadcaster(log=logs.pop(0)))
    with ThreadPoolExecutor(1) as threads, broadcaster:
        publishing = threads.submit(broadcaster.publish, "job.7", "job.step")
        assert waiting.called.wait(10)
        assert in_child(lambda: offsets([broadcaster.publish("job.7", "job.step")])) == [1]
        waiting.allowed.set()
        assert offsets([publishing.result(10)]) == [1]


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_child_forked_during_a_connect_is_not_blocked() -> None:
    parent, connecting, allowed = os.getpid(), threading.Event(), threading.Event()

    def make() -> Broadcaster:
        if os.getpid() == parent:
            connecting.set()
            assert allowed.wait(10)
        return Broadcaster(log=WatchedLog())

    with ThreadPoolExecutor(1) as threads, BlockingBroadcaster(make) as publisher:
        publishing = threads.submit(publisher.publish, "job.7", "job.step")
        assert connecting.wait(10)
        assert in_child(lambda: offsets([publisher.publish("job.7", "job.step")])) == [1]
        allowed.set()
        assert offsets([publishing.result(10)]) == [1]


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
async def test_child_of_the_server_uses_no_loop_of_its_parent() -> None:
    settings = Settings(backend="memory", prefix="served")
    publisher = BlockingBroadcaster(lambda: Broadcaster.from_settings(settings))
    with register_local_server("served", Broadcaster(log=WatchedLog())):
        assert in_child(lambda: offsets([publisher.publish("job.7", "job.step")])) == [1]


RECORDER = '''
import os, sys
from realtime_bridge import BlockingBroadcaster, Broadcaster
from realtime_bridge_backends.memory import MemoryBackend
from tests.cli.processes import environment
from tests.services.redis import RedisServer

class Recorder(MemoryBackend):
    """Record the calls of each process."""

    def note(self, what):
        with open(sys.argv[1], "a") as file:
            file.write(f"{os.getpid()} {what}\\n")

    async def __aenter__(self):
        self.note("open")
        return self

    async def __aexit__(self, *_):
        self.note("close")

    async def append(self, events):
        self.note(events[0].data)
        return await super().append(events)

broadcaster = BlockingBroadcaster(lambda: Broadcaster(log=Recorder()))
'''


def run(program: str, record: Path) -> list[list[str]]:
    """Run a program with a module-level broadcaster; return the records of each process in order.

    It fails on any output on standard error, warnings included.
    """
    done = subprocess.run(
        [
            sys.executable,
            "-X",
            "dev",
            "-W",
            "ignore::DeprecationWarning",
            "-c",
            RECORDER + program,
            str(record),
        ],
        check=True,
        timeout=60,
        capture_output=True,
        text=True,
    )
    # The mode for development also reports each slow step, and a busy machine has some.
    assert not [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]
    notes: dict[str, list[str]] = {}
    for line in record.read_text().splitlines():
        process, what = line.split()
        notes.setdefault(process, []).append(what)
    return list(notes.values())


def test_end_of_the_process_closes_a_module_level_one(tmp_path: Path) -> None:
    program = 'broadcaster.publish("job.7", "job.step", "parent")'
    assert run(program, tmp_path / "record") == [["open", "parent", "close"]]


def test_child_opens_and_closes_connections_of_its_own(tmp_path: Path) -> None:
    program = """
broadcaster.publish("job.7", "job.step", "parent")
children = []
for _ in range(3):
    child = os.fork()
    if not child:
        broadcaster.publish("job.7", "job.step", "child")
        sys.exit()
    children.append(child)
for child in children:
    os.waitpid(child, 0)
broadcaster.publish("job.7", "job.step", "again")
"""
    parent, *children = run(program, tmp_path / "record")
    assert parent == ["open", "parent", "again", "close"]
    assert children == [["open", "child", "close"]] * 3


def test_child_without_a_publish_connects_to_nothing(tmp_path: Path) -> None:
    program = """
broadcaster.publish("job.7", "job.step", "parent")
child = os.fork()
if child:
    os.waitpid(child, 0)
"""
    assert run(program, tmp_path / "record") == [["open", "parent", "close"]]


AT_EXIT = """
import atexit, os, sys
from realtime_bridge import BlockingBroadcaster

first, second = BlockingBroadcaster.from_env(), BlockingBroadcaster.from_env()
first.publish("user-42", "job.step")
atexit.register(lambda: print(second.publish("user-42", "job.step").position.offset))
"""


def test_publish_at_exit_finds_a_host_by_its_name(tmp_path: Path) -> None:
    # The resolver needs a thread, which Python's own executor no longer starts at that time.
    with RedisServer(tmp_path, "--save", "") as server:
        variables = {
            "REALTIME_BACKEND": "redis",
            "REALTIME_REDIS_URL": f"redis://localhost:{server.port}/0",
        }
        process = subprocess.run(
            [sys.executable, "-c", AT_EXIT],
            env=environment(variables),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (process.stdout, process.stderr) == ("2\n", "")


class TransactionLog(WatchedLog, TransactionalLog):
    """Log that takes any transaction."""

    def append_in_transaction(self, transaction: object, events: Sequence[Event]) -> None:
        assert not events, f"{transaction}: not checked"


@pytest.mark.parametrize("data", [2**60, "x" * 100])
def test_events_of_a_transaction_are_checked(data: object) -> None:
    with (
        BlockingBroadcaster(
            lambda: Broadcaster(log=TransactionLog(), limit_event_bytes=50)
        ) as broadcaster,
        pytest.raises(InvalidEventError),
    ):
        broadcaster.publish("job.7", "job.step", data, transaction=object())
