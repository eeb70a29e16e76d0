"""Processing queue on PostgreSQL: every change of a row on the page."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from playwright.async_api import Page, expect

from tests.examples.conftest import Demo
from tests.examples.pictures import picture
from tests.examples.widget_page import (
    EXAMPLE,
    LONG,
    PACE,
    SHORT,
    command,
    is_under_way,
    open_page,
    shows,
    upload,
    write,
)
from tests.services.postgres import PostgresServer


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Run a PostgreSQL without our schemas, and return its URL."""
    with PostgresServer() as server:
        yield server.url()


@pytest.fixture(scope="module")
def demo(url: str) -> Iterator[Demo]:
    demo = Demo(command=command("postgres"), DATABASE_URL=url, **PACE)
    yield demo
    demo.press_ctrl_c()


async def test_page_shows_the_end_that_the_worker_writes(
    demo: Demo, url: str, page: Page, tmp_path: Path
) -> None:
    await open_page(page, demo.url)
    good, good_card = await upload(page, write(tmp_path / "good.log", SHORT))
    bad, bad_card = await upload(page, write(tmp_path / "bad.log", LONG))

    await shows(good_card, "completed")
    await expect(good_card).to_contain_text("20,000 lines, 60,000 words")
    await is_under_way(bad_card)
    write(path_of(url, bad), SHORT)
    await shows(bad_card, "failed")
    await expect(bad_card).to_contain_text("The file changed while it was being read")
    assert [column(url, job, "status") for job in (good, bad)] == ["completed", "failed"]


async def test_job_of_a_killed_worker_is_taken_by_the_next(
    demo: Demo, url: str, page: Page, tmp_path: Path
) -> None:
    await open_page(page, demo.url)
    job, card = await upload(page, write(tmp_path / "measurements.log", LONG))
    await is_under_way(card)

    for worker in demo.processes("on_postgres.worker"):
        os.kill(worker, signal.SIGKILL)
    write(path_of(url, job), SHORT)

    await shows(card, "completed")
    assert column(url, job, "attempt") == 2


async def test_row_is_cancelled_by_the_button(
    demo: Demo, url: str, page: Page, tmp_path: Path
) -> None:
    await open_page(page, demo.url)
    job, card = await upload(page, write(tmp_path / "unwanted.log", LONG))
    await is_under_way(card)

    await card.get_by_role("button", name="Cancel").click()

    await shows(card, "cancelled")
    assert column(url, job, "status") == "cancelled"


async def test_row_asks_before_it_overwrites(
    demo: Demo, url: str, page: Page, tmp_path: Path
) -> None:
    await open_page(page, demo.url)
    file = write(tmp_path / "twice.log", SHORT)
    await shows((await upload(page, file))[1], "completed")
    write(file, SHORT // 2)
    for answer, result in (("no", "The earlier result stays"), ("yes", "10,000 lines")):
        _, card = await upload(page, file)
        await expect(card).to_contain_text("Overwrite the file twice.log.txt?")
        await card.get_by_role("button", name=answer).click()
        await shows(card, "completed")
        await expect(card).to_contain_text(result)


async def test_question_without_an_answer_fails_at_its_deadline(
    demo: Demo, url: str, page: Page, tmp_path: Path
) -> None:
    await open_page(page, demo.url)
    file = write(tmp_path / "late.log", SHORT)
    await shows((await upload(page, file))[1], "completed")
    job, card = await upload(page, file)
    await expect(card).to_contain_text("Overwrite the file late.log.txt?")

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE queue.jobs SET asked_until = now() WHERE id = %s", [job])

    await shows(card, "failed")
    await expect(card).to_contain_text("No answer within 10 minutes")


async def test_button_kills_a_worker_whose_job_asks_again(
    demo: Demo, url: str, page: Page, tmp_path: Path
) -> None:
    await open_page(page, demo.url)
    file = write(tmp_path / "killed.log", SHORT)
    await shows((await upload(page, file))[1], "completed")
    job, card = await upload(page, file)
    question = "Overwrite the file killed.log.txt?"
    await expect(card).to_contain_text(question)

    await page.get_by_role("button", name="Kill the worker").click()

    # The next worker takes the row when the lease has ended, and comes to the same question.
    await shows(card, "running")
    await expect(card).to_contain_text(question)
    await card.get_by_role("button", name="yes").click()
    await shows(card, "completed")
    assert column(url, job, "attempt") == 2


async def test_page_shows_changes_by_psql(demo: Demo, url: str, page: Page, tmp_path: Path) -> None:
    await open_page(page, demo.url)
    job, card = await upload(page, write(tmp_path / "access.log", LONG))
    await is_under_way(card)

    psql(url, f"UPDATE queue.jobs SET status = 'cancelled' WHERE id = {job}")
    await shows(card, "cancelled")

    _, second_card = await upload(page, write(tmp_path / "sensor.log", LONG))
    await is_under_way(second_card)
    await picture(page, "queue-on-postgres")
    write(path_of(url, job), SHORT)
    psql(url, f"UPDATE queue.jobs SET status = 'queued', progress = 0 WHERE id = {job}")
    await shows(card, "completed")

    psql(url, f"DELETE FROM queue.jobs WHERE id = {job}")
    await expect(card).to_have_count(0)


def test_worker_does_not_import_realtime_bridge(tmp_path: Path) -> None:
    program = "import sys, on_postgres.worker; print([m for m in sys.modules if 'realtime' in m])"
    environment = os.environ | {"PYTHONPATH": str(EXAMPLE), "QUEUE_DATA": str(tmp_path)}
    assert subprocess.check_output([sys.executable, "-c", program], env=environment) == b"[]\n"


def psql(url: str, statement: str) -> None:
    """Run a statement by psql."""
    subprocess.run(["psql", url, "-c", statement], check=True, capture_output=True)


def path_of(url: str, job: str) -> Path:
    """Return the path of a job's file."""
    return Path(column(url, job, "path"))


def column(url: str, job: str, name: str) -> Any:
    """Return one column of a job's row."""
    with psycopg.connect(url) as connection:
        query = psycopg.sql.SQL("SELECT {} FROM queue.jobs WHERE id = %s")
        row = connection.execute(query.format(psycopg.sql.Identifier(name)), [job]).fetchone()
        assert row
        return row[0]
