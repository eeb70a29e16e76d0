"""Readers of plain event streams that others wrote: curl, a library for Python, and nginx."""

import asyncio
import os
import shutil
import socket
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import sseclient

from tests.server.event_source import plain_stream
from tests.server.harness import PORTABLE, TIMEOUT, Serve, Site

CHANNEL = "job.7"


@pytest.fixture
def shell() -> str:
    """Use one shell: these tests are about the other side."""
    return PORTABLE


async def test_curl_prints_events_as_they_arrive(site: Site) -> None:
    await site.bridge.publish(CHANNEL, "job.state", {"percent": 30}, key="a")
    curl = await asyncio.create_subprocess_exec(
        *("curl", "--no-buffer", "--silent", "--fail"),
        *("--header", f"Authorization: Bearer {site.token()}"),
        f"{site.url}/sse?channel={CHANNEL}&snapshot=1",
        stdout=asyncio.subprocess.PIPE,
    )
    assert curl.stdout
    async with asyncio.timeout(TIMEOUT):
        assert (await curl.stdout.readline()).startswith(b"retry: ")
        await curl.stdout.readuntil(b'data: {"percent":30}\n\n')
        await site.bridge.publish(CHANNEL, "job.state", {"percent": 60}, key="a")
        assert b"event: job.state\n" in await curl.stdout.readuntil(b'data: {"percent":60}\n\n')
    curl.terminate()
    await curl.wait()


async def test_library_for_python_resumes_with_the_last_id(site: Site) -> None:
    def read(last_id: str, count: int) -> list[sseclient.Event]:
        headers = {"Authorization": f"Bearer {site.token()}", "Last-Event-ID": last_id}
        request = urllib.request.Request(f"{site.url}/sse?channel={CHANNEL}", headers=headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            events = sseclient.SSEClient(iter(response.read1, b"")).events()
            return [next(events) for _ in range(count)]

    epoch = (await site.bridge.position(CHANNEL)).epoch
    await site.fill(CHANNEL, ["a", "b\u2028\x85c", "d"])
    first = await asyncio.to_thread(read, f"{CHANNEL}/{epoch}:0", 2)
    assert [(event.event, event.data) for event in first] == [
        ("job.step", '"a"'),
        ("job.step", '"b\u2028\x85c"'),
    ]
    (rest,) = await asyncio.to_thread(read, str(first[-1].id), 1)
    assert rest.data == '"d"'


NGINX = """
daemon off; pid {folder}/pid; error_log stderr warn; worker_processes 1;
events {{ worker_connections 64; }}
http {{
    access_log off; proxy_temp_path {folder}/proxy; client_body_temp_path {folder}/body;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass {origin}; {options} }}
    }}
}}
"""
GZIP = "gzip on; gzip_types *; gzip_proxied any; gzip_min_length 0; gzip_http_version 1.0;"


async def wait_until_open(port: int) -> None:
    async with asyncio.timeout(TIMEOUT):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return


@asynccontextmanager
async def nginx(folder: Path, origin: str, options: str) -> AsyncIterator[str]:
    """Run nginx before a server, and yield its origin."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = folder / "nginx.conf"
    file.write_text(NGINX.format(folder=folder, port=port, origin=origin, options=options))
    # Debian has it where the PATH of users does not lead.
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program
    process = await asyncio.create_subprocess_exec(
        program, "-p", str(folder), "-c", str(file), "-e", "stderr"
    )
    try:
        await wait_until_open(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.parametrize("options", ["", GZIP], ids=["default buffering", "gzip"])
async def test_events_pass_nginx_as_they_arrive(serve: Serve, tmp_path: Path, options: str) -> None:
    site = await serve()
    async with nginx(tmp_path, site.origin, options) as origin:
        site.origin = origin
        async with plain_stream(site, CHANNEL) as stream:
            encoding = stream.response.headers.get("content-encoding")
            assert encoding == ("gzip" if options else None)
            await stream.opened(CHANNEL)
            for number in range(5):
                await site.fill(CHANNEL, [number])
                assert (await stream.next()).value == number
