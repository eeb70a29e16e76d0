"""Build an application of Vite with the packed npm package, and show its pages in Chromium.

Run `make vite`: it needs the npm registry, and about a minute. The package installs and connects:
in the development server with the debug panel, in a production build without it.
"""

import asyncio
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import BrowserContext, expect

from tests.browser.pages import Site, open_site
from tests.client.servers import SECRET
from tests.services.chromium import open_browser

CLIENT = Path(__file__).parents[1] / "clients" / "js"
TIMEOUT_MS = 60_000

MAIN = """
import 'realtime-bridge/react/styles.css';
import { createElement } from 'react';
import { createRoot } from 'react-dom/client';
import { ProcessingWidget } from 'realtime-bridge/react';
const widget = createElement(ProcessingWidget, { userId: 'ada' });
createRoot(document.querySelector('main')).render(widget);
"""
PAGE = '<main></main><script type="module" src="/main.js"></script>'


def run(*command: str, folder: Path) -> str:
    """Run a command in a folder, and return its output."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def install(folder: Path) -> None:
    """Make an application that installs the package, as `npm pack` in a checkout makes it."""
    package = run("npm", "pack", "--silent", f"--pack-destination={folder}", folder=CLIENT)
    (folder / "package.json").write_text(json.dumps({"private": True, "type": "module"}))
    (folder / "index.html").write_text(PAGE)
    (folder / "main.js").write_text(MAIN)
    names = ["vite@7", "react@19", "react-dom@19", f"./{package.split()[-1]}"]
    run("npm", "install", "--no-audit", "--no-fund", "--silent", *names, folder=folder)
    installed = folder / "node_modules" / "realtime-bridge"
    assert (installed / "LICENSE").exists(), "the package has no licence"
    assert not (folder / "node_modules" / "ably").exists(), "an optional peer was installed"


@asynccontextmanager
async def vite(folder: Path, site: Site, *command: str) -> AsyncGenerator[str]:
    """Run a server of Vite that passes the bridge's requests on, and return its URL."""
    config = {"proxy": {"/realtime": {"target": site.proxy.url, "ws": True}}, "host": "127.0.0.1"}
    text = json.dumps({"server": config, "preview": config})
    (folder / "vite.config.js").write_text(f"export default {text}")
    process = await asyncio.create_subprocess_exec(
        folder / "node_modules" / ".bin" / "vite",
        *command,
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout
    try:
        while b"http://127.0.0.1:" not in (line := await process.stdout.readline()):
            assert line, "Vite did not start"
        yield line.decode().split()[-1]
    finally:
        # The whole group: Node may run in a wrapper, and has children of its own.
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def check(context: BrowserContext, url: str, *, panels: int) -> None:
    """Check that the page connects, and shows so many debug panels."""
    await context.add_cookies([{"name": "session", "value": "ada", "url": url}])
    page = await context.new_page()
    await page.goto(url)
    badge = page.locator(".rb-pill-label")
    await expect(badge).to_have_text("Real-time", timeout=TIMEOUT_MS)
    await expect(page.locator(".rb-debug")).to_have_count(panels)
    await page.close()


async def main(folder: Path) -> None:
    """Check the development server and the production build of a new application."""
    install(folder)
    async with open_browser() as browser, open_site() as site:
        context = await browser.new_context()
        async with vite(folder, site) as url:
            await check(context, url, panels=1)
        print("development: Real-time, with the debug panel")
        run("npx", "vite", "build", folder=folder)
        async with vite(folder, site, "preview") as url:
            await check(context, url, panels=0)
        print("production: Real-time, without the debug panel")


if __name__ == "__main__":
    os.environ["REALTIME_SECRET"] = SECRET
    with tempfile.TemporaryDirectory() as temporary:
        asyncio.run(main(Path(temporary)))
