"""Development servers and other origins: the printed configurations reach the bridge."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, WSServerHandshakeError

from tests.cli.processes import SECRET, Process, ServeProcess
from tests.docs.test_code_blocks import ROOT
from tests.docs.test_quickstart import CLIENT, wait_until_it_answers
from tests.services.programs import free_port

PAGE = (ROOT / "docs" / "front-end.md").read_text(encoding="utf-8")
REAL = {"REALTIME_SECRET": SECRET}
VITE = re.search(r"^export default defineConfig.*?^\}\);$", PAGE, re.MULTILINE | re.DOTALL)
IMPORT = "import { defineConfig } from 'vite';\n"
NEXT = re.search(r"^REALTIME_ORIGINS=(http://localhost:3000) ", PAGE, re.MULTILINE)


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


async def connect(http: ClientSession, url: str, **headers: str) -> tuple[int, int]:
    """Return the status of `POST connect`, and that of the upgrade."""
    async with http.post(f"{url}/realtime/connect", json={}, headers=headers) as answer:
        status = answer.status
    try:
        async with http.ws_connect(f"{url}/realtime/ws", headers=headers):
            return status, 101
    except WSServerHandshakeError as error:
        return status, error.status


@pytest.mark.parametrize(
    ("change_origin", "expected"), [("false", (401, 101)), ("true", (403, 403))]
)
async def test_vite_keeps_the_host_of_the_page(
    http: ClientSession, tmp_path: Path, change_origin: str, expected: tuple[int, int]
) -> None:
    assert VITE
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    (tmp_path / "node_modules").symlink_to(CLIENT / "node_modules")
    with ServeProcess(folder=tmp_path, variables=REAL) as server:
        config = IMPORT + VITE[0].replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
        config = config.replace("changeOrigin: false", f"changeOrigin: {change_origin}")
        (tmp_path / "vite.config.mjs").write_text(config)
        (tmp_path / "index.html").write_text("<p>page</p>")
        vite = ("node", "node_modules/vite/bin/vite.js", "--host", "127.0.0.1", "--strictPort")
        with Process(*vite, "--port", str(port), folder=tmp_path, variables={}):
            await wait_until_it_answers(f"{origin}/")
            # 401: the page may connect, and no user has signed in.
            assert await connect(http, origin, origin=origin) == expected


async def test_page_of_another_origin_needs_and_gets_permission(
    http: ClientSession, tmp_path: Path
) -> None:
    assert NEXT
    for permitted, expected in (("", (403, 403)), (NEXT[1], (401, 101))):
        variables = REAL | {"REALTIME_ORIGINS": permitted}
        with ServeProcess(folder=tmp_path, variables=variables) as server:
            url = server.url.removesuffix("/realtime")
            # As Next.js forwards it: the origin of the page, and the host of the destination.
            assert await connect(http, url, origin=NEXT[1]) == expected
