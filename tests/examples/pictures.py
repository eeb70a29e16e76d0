"""Pictures for the documentation, taken by the tests that look at pages."""

import os
from pathlib import Path

from playwright.async_api import Page

FOLDER = os.environ.get("REALTIME_SCREENSHOTS")
"""The folder to keep them in, such as docs/images; without it none are taken."""


async def picture(page: Page, name: str) -> None:
    """Keep what the page shows, if pictures are kept."""
    if FOLDER:
        await page.mouse.move(0, 0)
        await page.screenshot(
            path=Path(FOLDER) / f"{name}.png", animations="disabled", full_page=True
        )
