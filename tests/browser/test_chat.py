"""Chat example in Chromium, with the AI SDK as published: each page shows what the log accepted."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, WebSocket

from realtime_bridge import Broadcaster
from realtime_bridge.testing.providers import LocalPusher
from tests.examples.conftest import Demo
from tests.services.redis import RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXAMPLE = Path(__file__).parents[2] / "examples" / "chat"
TIMEOUT = 45.0
"""Longest wait, in seconds."""

WORDS = 2_000
PACE = {"CHAT_WORDS": str(WORDS), "CHAT_WORDS_PER_SECOND": "330"}

ANSWER = "[...document.querySelectorAll('li.assistant')].at(-1)?.textContent ?? ''"
RECORD = f"""
window.shown = new Set();
new MutationObserver(() => window.shown.add({ANSWER}))
  .observe(document, {{ subtree: true, childList: true, characterData: true }});
"""
"""Script that records each text of the answer, also one that the page shows briefly."""


class ChatPage:
    """Page of the chat: of the AI SDK, or of `useStream` alone at `plain`."""

    def __init__(self, page: Page, demo: Demo, chat: str, path: str) -> None:
        self.page = page
        self.channel = f"chat.ann.{chat}"
        self._url = f"{demo.url}{path}?chat={chat}"

    async def open(self) -> None:
        """Load the page, or load it again."""
        await self.page.goto(self._url)
        await self.page.wait_for_selector(".rb-badge[data-kind=realtime]", timeout=TIMEOUT * 1_000)

    async def ask(self) -> str:
        """Ask a question, and return the id of the answer's stream."""
        await self.page.fill(".composer input", "Why?")
        async with self.page.expect_response("**/api/chat") as response:
            await self.page.click(".composer button")
        return str((await (await response.value).json())["stream"])

    async def stop(self) -> None:
        await self.value("document.querySelector('.composer .stop').click()")

    async def until_words(self, count: int) -> None:
        """Wait until the answer has more words."""
        await self.until(f"({ANSWER}).split(' ').length > {count}")

    async def until_idle(self) -> None:
        """Wait until the page offers the next question."""
        await self.until("document.querySelector('.composer .primary')")

    async def until(self, condition: str) -> None:
        """Wait until a JavaScript expression is true."""
        await self.page.wait_for_function(condition, timeout=TIMEOUT * 1_000)

    async def value(self, expression: str) -> Any:
        return await self.page.evaluate(expression)

    async def text(self) -> str:
        """Return the last answer."""
        return str(await self.value(ANSWER))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pusher() -> AsyncGenerator[LocalPusher]:
    async with LocalPusher() as pusher:
        yield pusher


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def settings(
    pusher: LocalPusher, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Mapping[str, str]]:
    """Yield variables of a deployment by Pusher, with its own server as the failover target."""
    with RedisServer(tmp_path_factory.mktemp("redis"), "--save", "") as redis:
        log = {"REALTIME_LOG": "redis", "REALTIME_REDIS_URL": redis.url, "REDIS_URL": redis.url}
        yield pusher.environment | log | {"REALTIME_FAILOVER": "redis"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo(settings: Mapping[str, str]) -> AsyncGenerator[Demo]:
    def start() -> Demo:
        return Demo(command=[sys.executable, str(EXAMPLE)], **settings, **PACE)

    demo = await asyncio.to_thread(start)
    yield demo
    errors = await asyncio.to_thread(demo.press_ctrl_c)
    assert errors.endswith("Stopped.\n")
    assert not demo.processes()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def broadcaster(settings: Mapping[str, str]) -> AsyncGenerator[Broadcaster]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        broadcaster = Broadcaster.from_env()
    async with broadcaster:
        yield broadcaster


@pytest_asyncio.fixture(loop_scope="module")
async def context(browser: Browser, demo: Demo) -> AsyncGenerator[BrowserContext]:
    """Yield a browser context in which Ann is signed in."""
    context = await browser.new_context()
    await context.add_init_script(RECORD)
    credentials = {"user": "ann", "password": "secret"}
    await context.request.post(f"{demo.url}sign-in", data=credentials)
    yield context
    await context.close()


async def open_page(context: BrowserContext, demo: Demo, *, chat: str, path: str = "") -> ChatPage:
    page = ChatPage(await context.new_page(), demo, chat, path)
    await page.open()
    return page


async def accepted(broadcaster: Broadcaster, page: ChatPage, stream: str) -> str:
    """Return what the log accepted of the last attempt."""
    snapshot = await broadcaster.read_stream(page.channel, stream)
    assert snapshot
    return snapshot.text


async def state_of(broadcaster: Broadcaster, page: ChatPage, stream: str) -> str | None:
    snapshot = await broadcaster.read_stream(page.channel, stream)
    return snapshot.state if snapshot else None


async def until_state(broadcaster: Broadcaster, page: ChatPage, stream: str, state: str) -> None:
    async with asyncio.timeout(TIMEOUT):
        while await state_of(broadcaster, page, stream) != state:  # noqa: ASYNC110 -- in Redis
            await asyncio.sleep(0.05)


async def test_answer_goes_on_where_the_provider_fails(
    context: BrowserContext, demo: Demo, broadcaster: Broadcaster, pusher: LocalPusher
) -> None:
    opened = asyncio.Event()

    async def words() -> AsyncIterator[str]:
        """Yield words until the page has a socket of our own server, and some more."""
        while not opened.is_set():
            yield "before "
            await asyncio.sleep(0.02)
        for _ in range(50):
            yield "after "
            await asyncio.sleep(0.02)

    async def note(socket: WebSocket) -> None:
        if "/realtime/ws" in socket.url:
            opened.set()

    async with (
        broadcaster.stream("chat.ann.provider", id="m1") as stream,
        asyncio.TaskGroup() as tasks,
        asyncio.timeout(TIMEOUT),
    ):
        tasks.create_task(stream.write(words()))
        page = await open_page(context, demo, chat="provider")
        page.page.on("websocket", note)
        await page.until_words(50)
        assert pusher.accepted == 1
        pusher.faults.status = 500
        pusher.faults.refuse = True
        pusher.drop()
        await opened.wait()
        await page.until("document.querySelector('.rb-badge[data-kind=realtime]')")
    await page.until_idle()
    assert await page.text() == await accepted(broadcaster, page, "m1")
    assert (await page.text()).endswith("after " * 50)


async def test_page_that_is_reloaded_shows_the_whole_answer(
    context: BrowserContext, demo: Demo, broadcaster: Broadcaster
) -> None:
    page = await open_page(context, demo, chat="reload")
    stream = await page.ask()
    await page.until_words(WORDS // 4)
    assert await state_of(broadcaster, page, stream) == "open"
    await page.open()
    await page.until_words(WORDS // 4)
    await page.until_idle()
    assert await page.text() == await accepted(broadcaster, page, stream)
    assert len((await page.text()).split()) == WORDS
    assert await state_of(broadcaster, page, stream) == "completed"


@pytest.mark.parametrize("reloads", [0, 1])
async def test_stop_before_and_after_a_reload(
    context: BrowserContext, demo: Demo, broadcaster: Broadcaster, reloads: int
) -> None:
    page = await open_page(context, demo, chat=f"stop-{reloads}")
    stream = await page.ask()
    await page.until_words(200)
    for _ in range(reloads):
        await page.open()
        await page.until_words(200)
    await page.stop()
    await page.until_idle()
    await until_state(broadcaster, page, stream, "stopped")
    text = await accepted(broadcaster, page, stream)
    assert len(text.split()) < WORDS
    # The AI SDK shows nothing that arrives after its own stop.
    assert text.startswith(await page.text())
    await page.open()
    await page.until_words(200)
    await page.until_idle()
    assert await page.text() == text


async def test_stop_in_one_tab_ends_the_answer_in_all(
    context: BrowserContext, demo: Demo, broadcaster: Broadcaster
) -> None:
    plain = await open_page(context, demo, chat="tabs", path="plain")
    asking, other = [await open_page(context, demo, chat="tabs") for _ in range(2)]
    stream = await asking.ask()
    for page in (asking, other, plain):
        await page.until_words(50)
    await plain.stop()
    await until_state(broadcaster, plain, stream, "stopped")
    text = await accepted(broadcaster, plain, stream)
    assert len(text.split()) < WORDS
    for page in (plain, asking, other):
        await page.until_idle()
        assert await page.text() == text


async def test_retry_of_a_killed_worker_begins_the_answer_again(
    context: BrowserContext, demo: Demo, broadcaster: Broadcaster
) -> None:
    pages = [await open_page(context, demo, chat="kill", path=path) for path in ("plain", "")]
    stream = await pages[1].ask()
    for page in pages:
        await page.until_words(50)
    _parent, *children = demo.processes("celery")
    for child in children:
        os.kill(child, signal.SIGKILL)
    await until_state(broadcaster, pages[0], stream, "completed")
    text = await accepted(broadcaster, pages[0], stream)
    assert len(text.split()) == WORDS
    for page in pages:
        await page.until(f"({ANSWER}).length === {len(text)}")
        await page.until_idle()
        assert await page.text() == text
        dead = [each for each in await page.value("[...shown]") if not text.startswith(each)]
        # Each text is of one attempt alone.
        assert dead
        assert all(max(dead, key=len).startswith(each) for each in dead)
