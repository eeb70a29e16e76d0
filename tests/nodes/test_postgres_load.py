"""Nodes, workers and clients on one PostgreSQL that restarts, crashes or ends connections."""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from realtime_bridge_backends.postgres import PostgresBackend
from tests.nodes.load import Load, load
from tests.services.postgres import PostgresServer


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


def on_postgres(server: PostgresServer, folder: Path) -> AbstractAsyncContextManager[Load]:
    url = server.database()
    variables = {"REALTIME_BACKEND": "postgres", "REALTIME_POSTGRES_URL": url}
    return load(PostgresBackend(url), variables, folder)


async def test_restarted_postgres_loses_no_event(server: PostgresServer, tmp_path: Path) -> None:
    async with on_postgres(server, tmp_path) as active_load:
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
    assert active_load.clients.resets == []


async def test_crashed_postgres_keeps_acknowledged_events(
    server: PostgresServer, tmp_path: Path
) -> None:
    async with on_postgres(server, tmp_path) as active_load:
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
    assert active_load.clients.resets == []
