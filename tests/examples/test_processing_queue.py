"""Demo with real processes, a real browser and real files."""

import hashlib
import json
import os
import signal
import sqlite3
import urllib.error
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import Locator, Page, Response, WebSocket, WebSocketRoute, expect

from tests.examples.pictures import picture

if TYPE_CHECKING:
    from tests.examples.conftest import Demo, Start

NEWER_COLUMNS = ("message", "question", "attempt", "worker", "cancelling", "answer")
"""Columns that the table of jobs did not have at first."""


async def test_no_event_is_lost_while_the_socket_is_cut(
    start: "Start", page: Page, tmp_path: Path
) -> None:
    folder, file = tmp_path / "logs", tmp_path / "sensor-readings-2025.log"
    folder.mkdir()
    _write(folder / "access-2025-11-22.log", 4_000_000)
    _write(file, 50_000_000)
    demo = start(folder, QUEUE_BYTES_PER_SECOND="12000000")
    start_position = await _open(page, demo)
    job, status = page.locator(".job", has_text=file.name), page.locator("#status strong")
    await expect(status).to_have_text("Real-time")

    await page.set_input_files("input[type=file]", file)
    await _reaches(job, 15)
    await picture(page, "queue-realtime")

    await page.get_by_role("button", name="Cut the socket").click()
    await expect(status).to_have_text("Polling")
    await _reaches(job, await _percent(job) + 5)
    await picture(page, "queue-polling")

    await page.get_by_role("button", name="Reconnect").click()
    await expect(status).to_have_text("Real-time")
    assert await _percent(job) < 100
    await expect(job.locator(".pill")).to_have_text("Completed")
    await expect(page.locator(".pill")).to_have_text(["Completed", "Completed"])
    assert await _percent(job) == 100
    await expect(job).to_contain_text(hashlib.sha256(file.read_bytes()).hexdigest())
    await picture(page, "queue-completed")

    await _has_applied_all_since(start_position, page, demo)


async def test_page_goes_on_without_a_reset_when_the_server_restarts(
    start: "Start", page: Page, tmp_path: Path
) -> None:
    file = tmp_path / "sensor-readings-2025.log"
    _write(file, 4_000_000)
    demo = start(QUEUE_BYTES_PER_SECOND="1500000")
    snapshots: list[str] = []
    page.on("request", lambda request: snapshots.append(request.url.partition("/api/")[2]))
    start_position = await _open(page, demo)
    status = page.locator("#status strong")
    await expect(status).to_have_text("Real-time")
    await page.set_input_files("input[type=file]", file)
    job = page.locator(".job")
    await _reaches(job, 10)
    server = demo.processes("uvicorn")[0]

    await page.get_by_role("button", name="Restart the server").click()

    await expect(status).not_to_have_text("Real-time")
    await expect(status).to_have_text("Real-time")
    await expect(job.locator(".pill")).to_have_text("Completed")
    assert server not in demo.processes("uvicorn")
    assert snapshots.count("queue") == 1
    await _has_applied_all_since(start_position, page, demo)


async def test_button_closes_the_socket(start: "Start", page: Page) -> None:
    sockets: list[WebSocket] = []
    page.on("websocket", lambda socket: sockets.append(socket))  # noqa: PLW0108 -- it sets attributes
    await _open(page, start())
    status = page.locator("#status strong")
    await expect(status).to_have_text("Real-time")
    assert [socket.is_closed() for socket in sockets] == [False]

    await page.get_by_role("button", name="Cut the socket").click()

    await expect(status).to_have_text("Polling")
    assert sockets[0].is_closed()


async def test_each_file_of_a_folder_becomes_a_job(
    start: "Start", page: Page, tmp_path: Path
) -> None:
    (tmp_path / "within").mkdir()
    (tmp_path / "within" / "notes.txt").write_text("one two\nthree\n")
    (tmp_path / "empty.txt").touch()
    (tmp_path / ".hidden").write_text("not this one")
    demo = start(tmp_path)
    await _open(page, demo)

    await expect(page.locator(".pill")).to_have_text(["Completed", "Completed"])
    jobs = {job["name"]: job for job in demo.request("api/queue")["jobs"]}
    assert jobs.keys() == {"within/notes.txt", "empty.txt"}
    assert jobs["within/notes.txt"]["result"].items() >= {"lines": 2, "words": 3}.items()
    assert jobs["empty.txt"]["result"]["sha256"] == hashlib.sha256().hexdigest()
    assert all(job["percent"] == 100 for job in jobs.values())


async def test_failed_job_shows_its_error(start: "Start", page: Page, tmp_path: Path) -> None:
    file = tmp_path / "growing.log"
    _write(file, 1_000_000)
    demo = start(file, QUEUE_BYTES_PER_SECOND="1000000")
    await _open(page, demo)
    job = page.locator(".job")
    await _reaches(job, 10)

    _write(file, 2_000_000)

    await expect(job.locator(".pill")).to_have_text("Failed")
    await expect(job).to_contain_text("The file changed while it was being read")


async def test_shuffled_and_repeated_events_are_applied_once(
    start: "Start", page: Page, tmp_path: Path
) -> None:
    file = tmp_path / "measurements.log"
    _write(file, 1_000_000)
    demo = start(QUEUE_BYTES_PER_SECOND="1000000")
    shuffled = await _shuffle_events(page)
    start_position = await _open(page, demo)
    await expect(page.locator("#status strong")).to_have_text("Real-time")

    await page.set_input_files("input[type=file]", file)

    await expect(page.locator(".pill")).to_have_text("Completed")
    assert shuffled.count("job.progress") >= 6
    await _has_applied_all_since(start_position, page, demo)


def test_ctrl_c_during_a_job_leaves_no_process_or_file(start: "Start", tmp_path: Path) -> None:
    file = tmp_path / "large.csv"
    _write(file, 1_000_000)
    demo = start(file, QUEUE_BYTES_PER_SECOND="100000", TMPDIR=str(tmp_path))
    processes = demo.processes()
    assert len(processes) >= 3

    output = demo.press_ctrl_c()

    assert demo.process.returncode == 0
    assert "Stopped." in output
    assert "Traceback" not in output
    assert demo.processes() == []
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("columns", [(), NEWER_COLUMNS], ids=["same version", "earlier version"])
def test_interrupted_job_restarts_with_the_same_data(
    start: "Start", tmp_path: Path, columns: Sequence[str]
) -> None:
    file, data = tmp_path / "large.csv", tmp_path / "data"
    _write(file, 1_000_000)
    demo = start("--data", data, file, QUEUE_BYTES_PER_SECOND="500000")
    assert _first(demo, "job.progress")["percent"] > 0
    demo.press_ctrl_c()
    with closing(sqlite3.connect(data / "jobs.db", isolation_level=None)) as connection:
        for column in columns:
            connection.execute(f"ALTER TABLE job DROP COLUMN {column}")

    second_demo = start("--data", data, QUEUE_BYTES_PER_SECOND="0")

    assert _first(second_demo, "job.completed")["percent"] == 100


def test_all_processes_end_when_the_worker_ends(start: "Start", tmp_path: Path) -> None:
    file = tmp_path / "large.csv"
    _write(file, 1_000_000)
    demo = start(file, QUEUE_BYTES_PER_SECOND="100000")
    _first(demo, "job.progress")  # before it, the worker may not yet have its handler of the signal
    (worker,) = demo.processes("huey_consumer")

    os.kill(worker, signal.SIGTERM)

    output = demo.finish()
    assert demo.process.returncode == 1
    assert "The worker ended with exit code 0" in output
    assert demo.processes() == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--port", "{port}"], "Port {port} cannot be used (Address already in use)"),
        (["{empty}"], "There are no files in {empty}"),
    ],
    ids=["occupied port", "no files"],
)
def test_failed_start_prints_its_reason(
    start: "Start", tmp_path: Path, arguments: list[str], error: str
) -> None:
    words = {"empty": tmp_path, "port": start().url.rstrip("/").rpartition(":")[2]}

    demo = start(*(argument.format(**words) for argument in arguments))

    assert error.format(**words) in demo.finish()
    assert demo.process.returncode == 1


def test_upload_is_limited_and_its_name_is_not_a_path(start: "Start", tmp_path: Path) -> None:
    demo = start("--data", tmp_path, QUEUE_UPLOAD_LIMIT="10000")

    job = _upload(demo, name="../../etc/pa\tsswd", content=b"some words\n")
    errors = [
        _upload_error(demo, name="large", content=b"x" * 10_001),
        _upload_error(demo, name="", content=b"", files=0),
        _upload_error(demo, name="two", content=b"x", files=2),
    ]

    assert job["name"] == "passwd"
    assert errors == [
        (413, "The file is over the limit of 10,000 bytes."),
        (400, "Send one file, as multipart/form-data."),
        (400, "Send one file, as multipart/form-data."),
    ]
    assert [path.read_bytes() for path in (tmp_path / "uploads").iterdir()] == [b"some words\n"]


async def _open(page: Page, demo: "Demo") -> dict[str, Any]:
    """Open the page, and return the position of its first snapshot."""
    async with page.expect_response("**/api/queue") as response:
        await page.goto(demo.url)
    return _position(await response.value)


async def _shuffle_events(page: Page) -> list[str]:
    """Deliver every three events in the wrong order and twice; return their names."""
    delivered: list[str] = []

    def route(socket: WebSocketRoute) -> None:
        batch: list[tuple[str, str | bytes]] = []

        def receive(message: str | bytes) -> None:
            frame = json.loads(message)
            if frame["type"] != "event":
                socket.send(message)
                return
            batch.append((frame["event"], message))
            if len(batch) == 3 or frame["event"] == "job.completed":
                for name, event in [*reversed(batch), *batch]:
                    delivered.append(name)
                    socket.send(event)
                batch.clear()

        socket.connect_to_server().on_message(receive)

    await page.route_web_socket("**/realtime/**", route)
    return delivered


def _position(response: Response) -> dict[str, Any]:
    epoch, _, offset = response.headers["realtime-position"].split()[1].partition(":")
    return {"epoch": epoch, "offset": int(offset)}


async def _has_applied_all_since(start_position: dict[str, Any], page: Page, demo: "Demo") -> None:
    published = demo.poll(start_position)
    applied = await page.evaluate("applied")
    assert [_flat(event) for event in applied] == published["events"]
    offsets = range(start_position["offset"] + 1, published["position"]["offset"] + 1)
    assert [event["position"]["offset"] for event in applied] == list(offsets)


def _flat(event: dict[str, Any]) -> dict[str, Any]:
    """Return an event of the client in the form of the wire."""
    fields = {name: value for name, value in event.items() if name != "position"}
    return {"type": "event", **fields, **event["position"]}


async def _percent(job: Locator) -> float:
    return float(await job.get_by_role("progressbar").get_attribute("aria-valuenow") or 0)


async def _reaches(job: Locator, percent: float) -> None:
    await job.page.wait_for_function(
        "([job, percent]) => job.querySelector('.bar').getAttribute('aria-valuenow') >= percent",
        arg=[await job.element_handle(), percent],
    )


def _write(path: Path, size: int) -> None:
    """Write measurements of exactly `size` bytes."""
    block = b"".join(b"station %04d 2025-11-23 %05.2f ok\n" % (n, n / 7) for n in range(30_000))
    path.write_bytes((block * (size // len(block) + 1))[:size])


def _first(demo: "Demo", name: str) -> Any:
    return next(event["data"] for event in demo.events() if event["event"] == name)


def _upload(demo: "Demo", *, name: str, content: bytes, files: int = 1) -> Any:
    part = b'--edge\r\ncontent-disposition: form-data; name="file"; filename="%b"\r\n\r\n%b\r\n' % (
        name.encode(),
        content,
    )
    body = part * files + b"--edge--\r\n"
    return demo.request("api/upload", body, content_type="multipart/form-data; boundary=edge")


def _upload_error(demo: "Demo", *, name: str, content: bytes, files: int = 1) -> tuple[int, str]:
    with pytest.raises(urllib.error.HTTPError) as error_info:
        _upload(demo, name=name, content=content, files=files)
    with error_info.value as error:
        return error.code, json.load(error)["detail"]
