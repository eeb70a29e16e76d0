"""Processing queue on Celery: every state of a task on the page."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from playwright.async_api import Page, expect

from tests.examples.conftest import Demo
from tests.examples.pictures import picture
from tests.examples.widget_page import (
    LONG,
    PACE,
    SHORT,
    command,
    has_shown,
    is_under_way,
    open_page,
    shows,
    upload,
    write,
)
from tests.services.redis import RedisServer

TASK = "on_celery.tasks.process_file"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with RedisServer(tmp_path_factory.mktemp("redis"), "--save", "") as server:
        yield server.url


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the data."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def demo(url: str, data: Path) -> Iterator[Demo]:
    demo = Demo("--data", data, command=command("celery"), REDIS_URL=url, **PACE)
    yield demo
    demo.press_ctrl_c()


async def test_tasks_wait_are_retried_and_complete(
    demo: Demo, data: Path, page: Page, tmp_path: Path
) -> None:
    await open_page(page, demo.url)
    long = [write(tmp_path / f"{name} long.log", LONG) for name in ("first", "second")]
    running = [(await upload(page, file))[1] for file in long]
    for job in running:
        await is_under_way(job)
    growing = list((data / "uploads").iterdir())
    _, waiting = await upload(page, write(tmp_path / "short.log", SHORT))
    await shows(waiting, "queued")

    for file in growing:
        write(file, SHORT)

    await shows(waiting, "completed")
    await picture(page, "queue-on-celery")
    for job in running:
        await shows(job, "completed")
        await expect(job).to_contain_text("long.log")
        await expect(job).to_contain_text("20,000 lines, 60,000 words")
        assert await has_shown(job, "retrying")


async def test_task_that_raises_has_failed(demo: Demo, url: str, page: Page) -> None:
    await open_page(page, demo.url)

    arguments = {"user": "demo", "name": "missing.log", "path": "/nowhere/missing.log"}
    task = Celery(broker=url).send_task(TASK, kwargs=arguments, queue="processing_queue")

    job = page.locator(f'.rb-job[data-job="{task.id}"]')
    await shows(job, "failed")
    await expect(job).to_contain_text("No such file or directory")


async def test_task_of_a_killed_process_has_failed(demo: Demo, page: Page, tmp_path: Path) -> None:
    await open_page(page, demo.url)
    _, job = await upload(page, write(tmp_path / "long.log", LONG))
    await is_under_way(job)

    _parent, *children = demo.processes("on_celery.tasks")
    for child in children:
        os.kill(child, signal.SIGKILL)

    await shows(job, "failed")
    await expect(job).to_contain_text("signal 9 (SIGKILL)")


async def test_task_is_cancelled_by_the_button(demo: Demo, page: Page, tmp_path: Path) -> None:
    await open_page(page, demo.url)
    _, job = await upload(page, write(tmp_path / "long.log", LONG))
    await is_under_way(job)

    await job.get_by_role("button", name="Cancel").click()

    await shows(job, "cancelled")
    await expect(job).to_contain_text("by you")


async def test_task_asks_before_it_overwrites(
    demo: Demo, data: Path, page: Page, tmp_path: Path
) -> None:
    await open_page(page, demo.url)
    file = write(tmp_path / "twice.log", SHORT)
    await shows((await upload(page, file))[1], "completed")
    write(file, SHORT // 2)
    for answer, lines in (("no", "20,000"), ("yes", "10,000")):
        _, job = await upload(page, file)
        await expect(job).to_contain_text("Overwrite the file twice.log.txt?")
        await job.get_by_role("button", name=answer).click()
        await shows(job, "completed")
        assert (data / "results" / "twice.log.txt").read_text().startswith(lines)


async def test_revoked_task_is_cancelled(demo: Demo, url: str, page: Page, tmp_path: Path) -> None:
    await open_page(page, demo.url)
    task, job = await upload(page, write(tmp_path / "long.log", LONG))
    await is_under_way(job)

    Celery(broker=url).control.terminate(task)

    await shows(job, "cancelled")
