"""Quickstarts of the README and of the pages: files and commands run as printed."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from aiohttp import ClientConnectionError, ClientSession
from playwright.async_api import Page, expect

from tests.cli.processes import Process
from tests.services.chromium import open_browser
from tests.services.programs import free_port
from tests.services.redis import RedisServer

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "js"
README, REACT = ROOT / "README.md", ROOT / "docs" / "quickstart-react.md"
DJANGO, FLASK = ROOT / "docs" / "quickstart-django.md", ROOT / "docs" / "flask.md"
FILE = re.compile(
    r"^\d+\. `([\w/.-]+)`[^\n]*\n(?:\n<!--[^\n]+-->|\n)*```\w+\n(.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TIMEOUT = 60_000


def files(page: Path) -> dict[str, str]:
    """Return the files that a page prints, by their names."""
    return {match[1]: match[2] for match in FILE.finditer(page.read_text(encoding="utf-8"))}


def write(folder: Path, *pages: Path) -> None:
    """Write the files of these pages, and the secret that the quickstart makes."""
    for page in pages:
        for name, text in files(page).items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
    (folder / ".env").write_text(f"REALTIME_SECRET={os.urandom(32).hex()}\n")


def run(folder: Path, *command: str, **variables: str) -> Process:
    """Run a printed command: the environment alone has the port."""
    program = (sys.executable, "-m", *command) if command[0] == "uvicorn" else command
    program = (sys.executable, *command[1:]) if command[0] == "python" else program
    return Process(*program, folder=folder, variables=variables)


@contextmanager
def server(folder: Path) -> Iterator[int]:
    """Run `uvicorn server:app`, and yield its port."""
    port = free_port()
    with run(folder, "uvicorn", "server:app", UVICORN_PORT=str(port)) as process:
        process.line("INFO:     Uvicorn running")
        yield port
        process.send(signal.SIGINT)
        assert process.finish()[0] in (0, 130)
        assert not [line for line in process.errors if "Traceback" in line]


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    async with open_browser() as browser:
        page = await browser.new_page()
        page.set_default_timeout(TIMEOUT)
        yield page


async def sign_in(page: Page, url: str) -> None:
    await page.goto(url)
    await page.fill("[name=user]", "ann")
    await page.fill("[name=password]", "secret")
    await page.click("button")
    await expect(page.get_by_text("Real-time", exact=True)).to_be_visible(timeout=TIMEOUT)


def work(folder: Path, port: int) -> None:
    url = f"http://127.0.0.1:{port}/realtime"
    with run(folder, "python", "worker.py", "ann", REALTIME_WEBSOCKET_URL=url) as worker:
        assert worker.finish()[0] == 0, worker.errors


async def test_three_files_of_the_readme_show_the_progress_of_a_job(
    page: Page, tmp_path: Path
) -> None:
    assert list(files(README)) == ["server.py", "worker.py", "index.html"]
    write(tmp_path, README)
    with server(tmp_path) as port:
        await sign_in(page, f"http://127.0.0.1:{port}/")
        work(tmp_path, port)
        done = page.get_by_text("Count to ten: completed 100 %")
        await expect(done).to_be_visible(timeout=TIMEOUT)
        await page.goto("about:blank")


async def wait_until_it_answers(url: str) -> None:
    async with asyncio.timeout(60), ClientSession() as http:
        while True:
            try:
                async with http.get(url):
                    return
            except ClientConnectionError:
                await asyncio.sleep(0.1)


def install_packages(folder: Path) -> None:
    """Install the packages of the checkout in place of `npm install`: no network, no build."""
    modules = folder / "node_modules"
    modules.mkdir()
    for package in (CLIENT / "node_modules").iterdir():
        (modules / package.name).symlink_to(package)
    package = modules / "realtime-bridge"
    package.mkdir()
    exports = {
        "./react": str(Path("src", "react", "index.ts")),
        "./react/styles.css": str(Path("src", "react", "styles.css")),
    }
    (package / "src").symlink_to(CLIENT / "src")
    exports = {name: f"./{path}" for name, path in exports.items()}
    manifest = {"name": "realtime-bridge", "type": "module", "exports": exports}
    (package / "package.json").write_text(json.dumps(manifest))


async def test_files_for_react_show_the_job_behind_vite(page: Page, tmp_path: Path) -> None:
    write(tmp_path, README, REACT)
    install_packages(tmp_path / "page")
    with ExitStack() as exits:
        port, front_port = exits.enter_context(server(tmp_path)), free_port()
        assert json.loads(files(REACT)["page/package.json"])["scripts"]["dev"] == "vite"
        vite = run(
            tmp_path / "page",
            *("node", "node_modules/vite/bin/vite.js", "--host", "127.0.0.1"),
            *("--port", str(front_port), "--strictPort"),
            BACKEND=f"http://127.0.0.1:{port}",
        )
        exits.enter_context(vite)
        await wait_until_it_answers(f"http://127.0.0.1:{front_port}/")
        await sign_in(page, f"http://127.0.0.1:{front_port}/")
        work(tmp_path, port)
        await expect(page.get_by_text("Count to ten").first).to_be_visible(timeout=TIMEOUT)
        await expect(page.get_by_text("completed").first).to_be_visible(timeout=TIMEOUT)
        await page.goto("about:blank")


def console(page: Path, ports: Mapping[str, int]) -> list[str]:
    """Return the blocks of commands that a page prints, with other ports."""
    blocks = CONSOLE.findall(page.read_text(encoding="utf-8"))
    return [with_ports(block, ports) for block in blocks]


def with_ports(text: str, ports: Mapping[str, int]) -> str:
    """Replace each printed port: the real one may be in use."""
    for printed, port in ports.items():
        text = text.replace(f":{printed}", f":{port}").replace(
            f"--port {printed}", f"--port {port}"
        )
    return text


def write_with_ports(folder: Path, page: Path, ports: Mapping[str, int]) -> None:
    """Write the files of a page, with other ports."""
    for name, text in files(page).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(with_ports(text, ports), encoding="utf-8")


def shell(folder: Path, block: str, **variables: str) -> Process:
    """Run a printed block in a shell that finds the programs of this environment."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return Process("sh", "-ec", block, folder=folder, variables={"PATH": path, **variables})


def shell_to_end(folder: Path, block: str) -> None:
    with shell(folder, block) as process:
        assert process.finish()[0] == 0, process.errors


async def test_files_for_flask_show_an_event(page: Page, tmp_path: Path) -> None:
    ports = {"8000": free_port(), "5000": free_port()}
    write_with_ports(tmp_path, FLASK, ports)
    secret, serve, flask, *_ = console(FLASK, ports)
    shell_to_end(tmp_path, secret)
    url = {"REALTIME_WEBSOCKET_URL": f"http://localhost:{ports['8000']}/realtime"}
    with shell(tmp_path, serve) as server, shell(tmp_path, flask, **url) as application:
        server.line("serving")
        application.line(" * Running on")
        await sign_in(page, f"http://localhost:{ports['5000']}/")
        await page.click("text=Pay order 7")
        await expect(page.get_by_text("order.paid: 7")).to_be_visible(timeout=TIMEOUT)


async def test_files_for_django_show_the_progress_of_a_task(page: Page, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    with ExitStack() as exits:
        redis = exits.enter_context(RedisServer(tmp_path / "redis", "--save", ""))
        ports = {"6379": redis.port}
        new, settings, django, celery = console(DJANGO, ports)
        shell_to_end(folder, new)
        write_with_ports(folder, DJANGO, ports)
        shell_to_end(folder, settings)
        port = free_port()
        server = exits.enter_context(shell(folder, django, UVICORN_PORT=str(port)))
        exits.enter_context(shell(folder, celery))
        server.line("INFO:     Uvicorn running")
        await page.goto(f"http://127.0.0.1:{port}/")
        await page.fill("[name=username]", "ann")
        await page.fill("[name=password]", "secret")
        await page.click("[type=submit]")
        await expect(page.get_by_text("Real-time", exact=True)).to_be_visible(timeout=TIMEOUT)
        await page.click("text=Count to ten")
        done = page.get_by_text("Count to ten: completed 100 %")
        await expect(done).to_be_visible(timeout=TIMEOUT)
        await page.goto("about:blank")
