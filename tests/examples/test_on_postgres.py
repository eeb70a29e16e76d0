"""The processing queue on PostgreSQL: whoever writes a row, the page shows it."""

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
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a PostgreSQL that has nothing of ours, and return where it is."""
    with PostgresServer(tmp_path_factory.mktemp("postgres"), "fsync=off") as server:
        yield server.url()


@pytest.fixture(scope="module")
def demo(url: str) -> Iterator[Demo]:
    demo = Demo(command=command("postgres"), DATABASE_URL=url, **PACE)
    yield demo
    demo.press_ctrl_c()


async def test_a_job_ends_as_its_worker_writes_it(
    demo: Demo, url: str, page: Page, tmp_path: Path
) -> None:
    await open_page(page, demo.url)
    good, shown_good = await upload(page, write(tmp_path / "good.log", SHORT))
    bad, shown_bad = await upload(page, write(tmp_path / "bad.log", LONG))

    await shows(shown_good, "completed")
    await expect(shown_good).to_contain_text("20,000 lines, 60,000 words")
    await is_under_way(shown_bad)
    write(path_of(url, bad), SHORT)
    await shows(shown_bad, "failed")
    await expect(shown_bad).to_contain_text("The file changed while it was being read")
    assert [column(url, job, "status") for job in (good, bad)] == ["completed", "failed"]


async def test_a_row_whose_worker_is_killed_is_taken_by_the_next(
    demo: Demo, url: str, page: Page, tmp_path: Path
) -> None:
    await open_page(page, demo.url)
    job, shown = await upload(page, write(tmp_path / "measurements.log", LONG))
    await is_under_way(shown)

    for worker in demo.processes("on_postgres.worker"):
        os.kill(worker, signal.SIGKILL)
    write(path_of(url, job), SHORT)

    await shows(shown, "completed")
    assert column(url, job, "attempt") == 2


async def test_the_page_shows_what_psql_writes(
    demo: Demo, url: str, page: Page, tmp_path: Path
) -> None:
    await open_page(page, demo.url)
    job, shown = await upload(page, write(tmp_path / "access.log", LONG))
    await is_under_way(shown)

    psql(url, f"UPDATE queue.jobs SET status = 'cancelled' WHERE id = {job}")
    await shows(shown, "cancelled")

    _, another = await upload(page, write(tmp_path / "sensor.log", LONG))
    await is_under_way(another)
    await picture(page, "queue-on-postgres")
    write(path_of(url, job), SHORT)
    psql(url, f"UPDATE queue.jobs SET status = 'queued', progress = 0 WHERE id = {job}")
    await shows(shown, "completed")

    psql(url, f"DELETE FROM queue.jobs WHERE id = {job}")
    await expect(shown).to_have_count(0)


def test_the_worker_knows_nothing_of_us(tmp_path: Path) -> None:
    asked = "import sys, on_postgres.worker; print([m for m in sys.modules if 'realtime' in m])"
    environment = os.environ | {"PYTHONPATH": str(EXAMPLE), "QUEUE_DATA": str(tmp_path)}
    assert subprocess.check_output([sys.executable, "-c", asked], env=environment) == b"[]\n"


def psql(url: str, statement: str) -> None:
    """Run a statement as an operator does."""
    subprocess.run(["psql", url, "-c", statement], check=True, capture_output=True)


def path_of(url: str, job: str) -> Path:
    """Return where a job's file is."""
    return Path(column(url, job, "path"))


def column(url: str, job: str, name: str) -> Any:
    """Return one column of a job's row."""
    with psycopg.connect(url) as connection:
        asked = psycopg.sql.SQL("SELECT {} FROM queue.jobs WHERE id = %s")
        row = connection.execute(asked.format(psycopg.sql.Identifier(name)), [job]).fetchone()
        assert row
        return row[0]
