"""Chromium without a window, for the tests of one module."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, async_playwright

OPTIONS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
]


@asynccontextmanager
async def open_browser() -> AsyncGenerator[Browser]:
    """Run Debian's Chromium; a start takes two seconds of CPU time."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=OPTIONS
        )
        yield browser
        await browser.close()
