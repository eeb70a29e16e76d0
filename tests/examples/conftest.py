"""A running demo, and a browser to look at it."""

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
from playwright.async_api import Page, async_playwright, expect

CHROMIUM = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
]
COMMAND = [str(Path(sys.executable).with_name("realtime-bridge")), "demo"]
TIMEOUT = 20_000
"""The longest the page may take to show one thing, in milliseconds."""

expect.set_options(timeout=TIMEOUT)


class Demo:
    """One running demo, alone in its session as a shell would have it."""

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
        """Return the processes of its session with this word in their commands, oldest first."""
        begun: dict[int, int] = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            fields = _read(path).rpartition(")")[2].split()  # from the third on, see proc(5)
            if fields[3:4] == [str(self.process.pid)]:
                begun[int(path.parent.name)] = int(fields[19])
        return sorted(
            (pid for pid in begun if word in _read(Path(f"/proc/{pid}/cmdline"))),
            key=lambda pid: begun[pid],  # not by number: those begin anew at 32 768
        )

    def press_ctrl_c(self) -> str:
        """Interrupt its process group as a terminal does, and return what was said at the end."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
        return self.process.communicate(timeout=15)[1]

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> Any:
        """Ask the application, and return its JSON."""
        request = urllib.request.Request(
            self.url + path,
            body,
            {name.replace("_", "-"): value for name, value in headers.items()},
        )
        with urllib.request.urlopen(request, timeout=15) as response:
            return json.load(response)

    def poll(self, position: dict[str, Any] | None, *, wait: int = 0) -> Any:
        """Return what the log holds after a position."""
        body = json.dumps({"positions": {"user-demo": position}, "wait": wait}).encode()
        answer = self.ask("realtime/poll", body, content_type="application/json")
        return answer["channels"]["user-demo"]

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
    started: list[Demo] = []

    def start_one(*arguments: str | Path, **environment: str) -> Demo:
        started.append(Demo(*arguments, **environment))
        return started[-1]

    yield start_one
    for demo in started:
        demo.press_ctrl_c()


@pytest.fixture
async def page() -> AsyncGenerator[Page]:
    scale = 2 if "REALTIME_SCREENSHOTS" in os.environ else 1
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=CHROMIUM
        )
        page = await browser.new_page(
            viewport={"width": 1000, "height": 800}, device_scale_factor=scale
        )
        page.set_default_timeout(TIMEOUT)
        yield page
        await browser.close()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _is_ours(name: str) -> bool:
    return name.startswith(("REALTIME_", "QUEUE_", "REDIS_", "DATABASE_"))
