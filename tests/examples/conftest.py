"""Running demo, and a browser for its page."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect
from pytest_asyncio import is_async_test

from tests.services.chromium import open_browser

COMMAND = [str(Path(sys.executable).with_name("realtime-bridge")), "demo"]
TIMEOUT = 45_000
"""Time limit of each change of the page, in milliseconds."""

END_TIMEOUT = 60.0
"""Longest time until the demo has ended after a signal, in seconds."""

expect.set_options(timeout=TIMEOUT)


class Demo:
    """Running demo in a session of its own, like a command of a shell."""

    def __init__(
        self, *arguments: str | Path, command: Sequence[str] = COMMAND, **environment: str
    ) -> None:
        others = {name: value for name, value in os.environ.items() if not _is_ours(name)}
        self.process = subprocess.Popen(
            [*command, *arguments],
            env=others | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout
        self.url = self.process.stdout.readline().strip()

    def processes(self, word: str = "") -> list[int]:
        """Return the processes of the session with a word in their commands, the oldest first."""
        start_times: dict[int, int] = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            fields = _read(path).rpartition(")")[2].split()  # from the third on, see proc(5)
            if fields[3:4] == [str(self.process.pid)]:
                start_times[int(path.parent.name)] = int(fields[19])
        return sorted(
            (pid for pid in start_times if word in _read(Path(f"/proc/{pid}/cmdline"))),
            key=lambda pid: start_times[pid],  # not by number: the numbers start again after 32 768
        )

    def press_ctrl_c(self) -> str:
        """Interrupt the process group like a terminal, and return the rest of standard error."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
        return self.finish()

    def finish(self) -> str:
        """Wait for the end, and return the rest of standard error."""
        return self.process.communicate(timeout=END_TIMEOUT)[1]

    def request(self, path: str, body: bytes | None = None, **headers: str) -> Any:
        """Send a request to the application, and return the JSON of the response."""
        request = urllib.request.Request(
            self.url + path,
            body,
            {name.replace("_", "-"): value for name, value in headers.items()},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    def poll(self, position: dict[str, Any] | None, *, wait: int = 0) -> Any:
        """Return the events of the log after a position."""
        body = json.dumps({"positions": {"user-demo": position}, "wait": wait}).encode()
        response = self.request("realtime/poll", body, content_type="application/json")
        return response["channels"]["user-demo"]

    def events(self) -> Iterator[Any]:
        """Yield every event from the first on, as they come."""
        position = self.poll(None)["position"] | {"offset": 0, "id": None}
        while True:
            page = self.poll(position, wait=10)
            yield from page["events"]
            position = page["position"]


Start = Callable[..., Demo]


@pytest.fixture
def start() -> Generator[Start]:
    demos: list[Demo] = []

    def start_one(*arguments: str | Path, **environment: str) -> Demo:
        demos.append(Demo(*arguments, **environment))
        return demos[-1]

    yield start_one
    for demo in demos:
        demo.press_ctrl_c()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of a module that have a page in one event loop: they share its browser."""
    for item in items:
        is_here = Path(__file__).parent in item.path.parents
        if is_here and is_async_test(item) and "page" in item.fixturenames:
            item.add_marker(pytest.mark.asyncio(loop_scope="module"), append=False)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncGenerator[Browser]:
    async with open_browser() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser) -> AsyncGenerator[Page]:
    """Return a page in a context of its own."""
    scale = 2 if "REALTIME_SCREENSHOTS" in os.environ else 1
    context = await browser.new_context(
        viewport={"width": 1000, "height": 800}, device_scale_factor=scale
    )
    page = await context.new_page()
    page.set_default_timeout(TIMEOUT)
    yield page
    await context.close()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _is_ours(name: str) -> bool:
    return name.startswith(("REALTIME_", "QUEUE_", "CHAT_", "REDIS_", "DATABASE_"))
