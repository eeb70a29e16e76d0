"""Pictures for the documentation, made by the tests of pages."""

import os
from pathlib import Path

from playwright.async_api import Page

FOLDER = os.environ.get("REALTIME_SCREENSHOTS")
"""Folder of the pictures, such as docs/images; without a folder, no picture is made."""


async def picture(page: Page, name: str) -> None:
    """Save a picture of the page, if there is a folder for pictures."""
    if FOLDER:
        await page.mouse.move(0, 0)
        await page.screenshot(
            path=Path(FOLDER) / f"{name}.png", animations="disabled", full_page=True
        )
