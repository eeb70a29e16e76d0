"""Screenshots of every state of the React components for docs/images, light and dark.

Run from the root of the checkout: `.venv/bin/python clients/js/gallery/screenshots.py [SCENE ...]`.
"""

import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Page, ViewportSize, sync_playwright

GALLERY = Path(__file__).parent
PACKAGE = GALLERY.parent
IMAGES = PACKAGE.parent.parent / "docs" / "images"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SCENES = [
    "badge",
    "widget-jobs",
    "widget-control",
    "widget-refusals",
    "widget-silent",
    "widget-parts",
    "widget-log",
    "widget-polling",
    "widget-offline",
    "widget-refused",
    "widget-empty",
    "widget-loading",
    "widget-notices",
    "debug-realtime",
    "debug-polling",
]
WIDE: ViewportSize = {"width": 760, "height": 900}
LOW: ViewportSize = {"width": 760, "height": 640}
NARROW: ViewportSize = {"width": 390, "height": 900}


class QuietHandler(SimpleHTTPRequestHandler):
    """File server without log lines."""

    def log_message(self, *_: object) -> None:
        """Write no log line."""


def build(folder: Path) -> None:
    """Bundle the gallery into a folder."""
    entry, out = GALLERY / "main.tsx", folder / "main.js"
    command = [
        "node_modules/.bin/esbuild",
        str(entry),
        "--bundle",
        "--format=esm",
        "--jsx=automatic",
        "--minify",
        f"--outfile={out}",
    ]
    subprocess.run([*command, "--log-level=warning"], cwd=PACKAGE, check=True)
    for file in (GALLERY / "index.html", GALLERY / "gallery.css", PACKAGE / "src/react/styles.css"):
        shutil.copy(file, folder)


def report(text: str) -> None:
    """Print a message of the page's console, such as a policy violation or a script error."""
    sys.stderr.write(f"{text}\n")


def draw(page: Page, origin: str, scene: str, name: str) -> None:
    """Take one screenshot."""
    page.goto(f"{origin}/?scene={scene}")
    element = page.locator("[data-scene]")
    element.wait_for()
    page.wait_for_timeout(16_000 if scene == "widget-silent" else 700)
    # Notices are in the corner of the window, outside the widget.
    target = page if scene == "widget-notices" else element
    target.screenshot(path=IMAGES / f"{name}.png")


def main(scenes: list[str]) -> None:
    """Build the gallery, serve it, and take the screenshots."""
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        build(Path(folder))
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=folder))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        origin = f"http://127.0.0.1:{server.server_port}"
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        for viewport, suffix in ((WIDE, ""), (NARROW, "-narrow")):
            for scheme in ("light", "dark"):
                page = browser.new_page(
                    viewport=viewport, color_scheme=scheme, device_scale_factor=1.5
                )
                page.on("console", lambda message: report(message.text))
                page.on("pageerror", lambda error: report(str(error)))
                for scene in scenes:
                    if scene == "widget-notices":
                        page.set_viewport_size(LOW)
                    if not suffix or (scene in ("badge", "widget-jobs") and scheme == "light"):
                        draw(page, origin, scene, f"{scene}{suffix}-{scheme}")
                page.close()
        browser.close()
        server.shutdown()


if __name__ == "__main__":
    main(sys.argv[1:] or SCENES)
