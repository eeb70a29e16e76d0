"""Folder of the bells: what other users of the machine put there changes nothing."""
# ruff: noqa: ASYNC240 -- a test may wait for the disk

import asyncio
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from realtime_bridge.backend.feed import FeedInterrupted
from realtime_bridge.errors import PublishError
from realtime_bridge.model.ephemeral_event import EphemeralEvent
from realtime_bridge.testing.contracts.samples import numbered
from realtime_bridge_backends.sqlite import SQLiteBackend
from realtime_bridge_backends.sqlite.bells import Bells, folder_of, is_private, make_folder

CHANNEL = "job.7"
TIMEOUT = 10.0


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a path that is too long for bells beside the log: they are among temporary files."""
    # The folder of the test would be too long again.
    with tempfile.TemporaryDirectory(prefix="rb") as temporary:
        monkeypatch.setattr(tempfile, "tempdir", temporary)
        folder = tmp_path / ("x" * 90)
        folder.mkdir()
        path = folder / "log.db"
        assert folder_of(path).parent == Path(temporary)
        yield path


async def steps(path: Path) -> list[int]:
    """Append events, and return what a listener of this process receives."""
    async with SQLiteBackend(path) as log, log.listen() as listener:
        await listener.subscribe([CHANNEL])
        stream = aiter(listener)
        for event in numbered(CHANNEL, 3):
            await log.append([event])
        received: list[int] = []
        async with asyncio.timeout(TIMEOUT):
            while len(received) < 3:
                item = await anext(stream)
                if not isinstance(item, FeedInterrupted):
                    received += [event.data["step"] for event in item]
    return received


async def test_folder_with_the_link_of_another_user_loses_no_file(path: Path) -> None:
    precious = path.parent / "precious"
    precious.mkdir()
    (precious / "letter").write_text("dear")
    folder_of(path).symlink_to(precious)
    assert await steps(path) == [1, 2, 3]
    assert (precious / "letter").read_text() == "dear"
    assert [file.name for file in precious.iterdir()] == ["letter"]


async def test_last_listener_leaves_no_folder(path: Path) -> None:
    async with SQLiteBackend(path) as log:
        async with log.listen(), log.listen():
            assert len(list(folder_of(path).iterdir())) == 2
        assert not folder_of(path).exists()
    assert await steps(path) == [1, 2, 3]


async def test_long_path_of_temporary_files_leaves_no_folder(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / ("y" * 100)
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    assert await steps(path) == [1, 2, 3]
    assert list(temporary.iterdir()) == []


async def test_file_among_the_bells_is_not_deleted(path: Path) -> None:
    path.touch()
    note = make_folder(path) / "note"
    note.touch()
    assert await steps(path) == [1, 2, 3]
    assert note.exists()


def everyone_writes(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)


@pytest.mark.parametrize("occupy", [everyone_writes, Path.touch])
async def test_folder_of_others_has_no_bell(
    path: Path, occupy: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    folder = folder_of(path)
    occupy(folder)
    assert await steps(path) == [1, 2, 3]
    assert not folder.is_dir() or list(folder.iterdir()) == []
    assert [one.getMessage() for one in caplog.records if one.levelname != "WARNING"] == []
    assert "listener without a bell" in caplog.text


@pytest.mark.parametrize(
    ("mode", "user", "private"),
    [
        (stat.S_IFDIR | 0o700, 1, True),
        (stat.S_IFDIR | 0o755, 2, True),
        (stat.S_IFDIR | 0o700, 3, False),
        (stat.S_IFDIR | 0o770, 1, False),
        (stat.S_IFDIR | 0o702, 1, False),
        (stat.S_IFLNK | 0o700, 1, False),
        (stat.S_IFREG | 0o700, 1, False),
    ],
)
def test_only_a_folder_of_the_owners_alone_is_private(
    mode: int,
    user: int,
    private: bool,  # noqa: FBT001 -- a parameter of the test
) -> None:
    assert is_private(os.stat_result((mode, 0, 0, 1, user, 0, 0, 0, 0, 0)), {1, 2}) is private


async def test_message_beyond_a_datagram_is_refused_and_a_foreign_one_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "log.db"
    arrivals: asyncio.Queue[EphemeralEvent] = asyncio.Queue()
    async with SQLiteBackend(path) as log, log.listen() as listener:
        listener.on_ephemeral = arrivals.put_nowait
        await listener.subscribe([CHANNEL])
        with pytest.raises(PublishError, match="too long"):
            await log.send_ephemeral(EphemeralEvent(CHANNEL, "client-x", "x" * 300_000))
        bells = Bells(path)
        await bells.send(b'{"channel":7}')
        bells.close()
        await log.send_ephemeral(EphemeralEvent(CHANNEL, "client-x", "last"))
        async with asyncio.timeout(TIMEOUT):
            assert (await arrivals.get()).text == "last"
    assert arrivals.empty()
    assert "message that cannot be read" in caplog.text


async def test_burst_of_messages_waits_for_a_busy_listener(tmp_path: Path) -> None:
    arrivals: asyncio.Queue[EphemeralEvent] = asyncio.Queue()
    async with SQLiteBackend(tmp_path / "log.db") as log, log.listen() as listener:
        listener.on_ephemeral = arrivals.put_nowait
        await listener.subscribe([CHANNEL])
        for number in range(100):  # the kernel queues few, and the listener reads between sends
            await log.send_ephemeral(EphemeralEvent(CHANNEL, "client-x", str(number)))
        async with asyncio.timeout(TIMEOUT):
            received = [(await arrivals.get()).text for _ in range(100)]
    assert received == [str(number) for number in range(100)]
