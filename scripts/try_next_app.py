"""Run the files of the quickstart with Next.js as printed, and show its page in Chromium.

Run `make next`: it needs the npm registry, and two minutes. The page signs in, connects by a
WebSocket through Next.js, and shows the job of the worker.
"""

import asyncio
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from playwright.async_api import expect

from tests.docs.test_quickstart import (
    CLIENT,
    README,
    ROOT,
    TIMEOUT,
    console,
    shell,
    shell_to_end,
    wait_until_it_answers,
    work,
    write,
)
from tests.services.chromium import open_browser
from tests.services.programs import free_port

PAGE = ROOT / "docs" / "quickstart-nextjs.md"


def prepare(folder: Path, install: str) -> None:
    """Write the files of the page, and install their packages."""
    write(folder, README, PAGE)
    command = ("npm", "pack", "--silent", f"--pack-destination={folder / 'page'}")
    subprocess.run(command, cwd=CLIENT, check=True, stdout=subprocess.DEVNULL)
    shell_to_end(folder / "page", install)


async def follow_job(url: str, folder: Path, port: int) -> None:
    """Sign in, and see the job of the worker."""
    async with open_browser() as browser:
        page = await browser.new_page()
        sockets: list[str] = []
        page.on("websocket", lambda socket: sockets.append(socket.url))
        # Until its script runs, the form would load another page.
        await page.goto(url, wait_until="networkidle", timeout=TIMEOUT)
        await page.fill("[name=user]", "ann")
        await page.fill("[name=password]", "secret")
        await page.click("button")
        label = page.locator(".rb-pill-label")
        await expect(label).to_have_text("Real-time", timeout=TIMEOUT)
        assert any(socket.endswith("/realtime/ws") for socket in sockets), sockets
        work(folder, port)
        await expect(page.get_by_text("Completed").first).to_be_visible(timeout=TIMEOUT)
        await page.goto("about:blank")


async def main(folder: Path) -> None:
    """Install, start the server and Next.js, and follow a job."""
    front, port = free_port(), free_port()
    _, server, next_commands = console(PAGE, {"3000": front})
    install, start = next_commands.splitlines()
    prepare(folder, install)
    variables = {"PORT": str(front), "BACKEND": f"http://127.0.0.1:{port}"}
    with (
        shell(folder, server, UVICORN_PORT=str(port)) as serving,
        shell(folder / "page", start, **variables),
    ):
        serving.line("INFO:     Uvicorn running")
        await wait_until_it_answers(f"http://localhost:{front}/")
        await follow_job(f"http://localhost:{front}/", folder, port)
    print("Next.js: Real-time by a WebSocket, and the job of the worker")


if __name__ == "__main__":
    assert shutil.which("npm"), "run it by `make next`"
    os.environ["NEXT_TELEMETRY_DISABLED"] = "1"
    with tempfile.TemporaryDirectory() as temporary:
        asyncio.run(main(Path(temporary)))
