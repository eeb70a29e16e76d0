"""Target of an outlet: an HTTP server that checks signatures and keeps what it accepts."""

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Self

from aiohttp import web
from standardwebhooks import Webhook

SECRET = "whsec_" + "c2VjcmV0IG9mIHRlc3RzLCAzMiBieXRlcyBsb25nISE="
TIMEOUT = 500.0 if os.environ.get("FULL_LOAD") else 60.0


class Target:
    """Server on a free loopback port.

    Args:
        answer: returns the status of each request; by default 200.

    """

    def __init__(self, answer: Callable[[], int] = lambda: 200) -> None:
        self.answer = answer
        self.requests = 0
        self.accepted: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.port = 0
        self._changed = asyncio.Event()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; a target that listened before has its port again."""
        app = web.Application()
        app.router.add_post("/{path:.*}", self._receive)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    async def _receive(self, request: web.Request) -> web.Response:
        self.requests += 1
        body = await request.read()
        Webhook(SECRET).verify(body, dict(request.headers))
        status = self.answer()
        if status == 200:
            self.headers.append({name.lower(): value for name, value in request.headers.items()})
            self.bodies.append(body)
            self.accepted.append(json.loads(body))
        self._changed.set()
        return web.Response(status=status, headers={"location": "/other"})

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition holds after a request."""
        async with asyncio.timeout(TIMEOUT):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_accepted(self, count: int) -> None:
        """Wait for so many different events."""
        await self.until(lambda: len({one["webhook-id"] for one in self.headers}) >= count)

    def data(self) -> dict[str, list[Any]]:
        """Return the data of each channel's events in order, each event where it came first."""
        known: set[str] = set()
        channels: dict[str, list[Any]] = defaultdict(list)
        for headers, event in zip(self.headers, self.accepted, strict=True):
            if headers["webhook-id"] not in known:
                known.add(headers["webhook-id"])
                channels[event["channel"]].append(event["data"])
        return dict(channels)
