"""Attacks on plain event streams, which any page can request with its visitor's cookies."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from urllib.parse import quote

import pytest

from tests.security.requests import ask, get, port_of, read_answer
from tests.server.harness import TIMEOUT, Serve, Site, make_bridge

ROUTE = "/realtime/sse?channel=user-ann"
EVIL = "origin: https://evil.example"


Dial = Callable[[Site], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


@pytest.fixture
async def dial(serve: Serve) -> AsyncIterator[Dial]:
    """Open connections, and close them before the server stops."""
    writers = []

    async def open_one(site: Site) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(site.origin))
        writers.append(writer)
        return reader, writer

    yield open_one
    for writer in writers:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize("name", ["token", "access_token", "authorization", "realtime-token"])
async def test_token_in_the_url_opens_no_stream(serve: Serve, name: str) -> None:
    site = await serve()
    token = quote(site.token("ann"))
    answer = await ask(site.origin, get(f"{ROUTE}&{name}={token}"))
    assert (answer.status, b"not_signed_in" in answer.body) == (401, True)
    answer = await ask(site.origin, get(ROUTE, f"realtime-token: {token}"), head_only=True)
    assert answer.status == 200


@pytest.mark.parametrize("header", [EVIL, "origin: null", "sec-fetch-site: cross-site"])
async def test_page_of_another_site_opens_no_stream(serve: Serve, header: str) -> None:
    site = await serve(make_bridge(authenticate=lambda _: "ann"))
    answer = await ask(site.origin, get(ROUTE, header))
    assert (answer.status, b"bad_origin" in answer.body) == (403, True)
    assert "access-control-allow-origin" not in answer.headers


async def test_foreign_page_learns_nothing_from_a_drained_server(serve: Serve) -> None:
    site = await serve(make_bridge(authenticate=lambda _: "ann"))
    await site.bridge.drain()
    answer = await ask(site.origin, get(ROUTE, EVIL))
    assert answer.status == 200
    assert "access-control-allow-origin" not in answer.headers
    assert b"ann" not in answer.body


async def test_streams_of_one_user_leave_the_places_of_others(serve: Serve, dial: Dial) -> None:
    def cookie(request: object) -> str:
        return str(request.cookies["user"])  # type: ignore[attr-defined]

    site = await serve(make_bridge(authenticate=cookie, limit_connections_per_user=3))
    statuses = []
    for user in ["ann"] * 6 + ["ben"]:
        reader, writer = await dial(site)
        writer.write(get(f"/realtime/sse?channel=user-{user}", f"cookie: user={user}"))
        statuses.append((await read_answer(reader, head_only=True)).status)
    assert statuses == [200] * 3 + [409] * 3 + [200]


async def test_reader_that_stalls_is_ended_and_keeps_no_memory(serve: Serve, dial: Dial) -> None:
    site = await serve(make_bridge(authenticate=lambda _: "ann"), send_buffer=8 * 1024)
    reader, writer = await dial(site)
    writer.write(get(ROUTE))
    await reader.readuntil(b"id: ")
    async with asyncio.timeout(TIMEOUT):
        while site.context.registry.transports()["sse"]:
            await site.bridge.publish("user-ann", "job.step", "x" * 400_000)
            await asyncio.sleep(0)  # a publish in memory lets no other task run
    assert site.context.connections.statistics.slow_clients == 1


async def test_line_breaks_in_data_begin_no_event(serve: Serve, dial: Dial) -> None:
    site = await serve(make_bridge(authenticate=lambda _: "ann"))
    reader, writer = await dial(site)
    writer.write(get(f"{ROUTE}&as=text"))
    await reader.readuntil(b"id: ")
    for text in ("a\n\nevent: forged", "b\r\revent: forged", "c\r\n\r\nevent: forged", "end"):
        await site.bridge.publish("user-ann", "job.step", text)
    received = await reader.readuntil(b"data: end")
    assert b"\nevent: forged" not in received
    assert received.count(b"\ndata: event: forged") == 3
    assert b"\r\r" not in received
