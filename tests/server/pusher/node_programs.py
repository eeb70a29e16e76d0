"""Unmodified pusher-js, laravel-echo and server SDK in Node processes, controlled by a test."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from tests.server.pusher.clients import APP

NODE = str(Path(sys.executable).with_name("node"))
FOLDER = Path(__file__).parent
TIMEOUT = 30.0

Line = dict[str, Any]


class NodePusher:
    """Process with one client: its reports, and commands for it."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @classmethod
    @asynccontextmanager
    async def run(
        cls,
        origin: str,
        *,
        library: str = "pusher-js",
        broadcaster: str | None = None,
        auth: str | None = None,
        **options: Any,
    ) -> AsyncIterator[Self]:
        """Run a client of a server until the block ends."""
        port = urlsplit(origin).port
        endpoint = auth or f"{origin}/realtime/auth/pusher"
        given = {
            **({} if broadcaster == "reverb" else {"cluster": "local"}),
            "wsHost": "127.0.0.1",
            "wsPort": port,
            "wssPort": port,
            "forceTLS": False,
            "enabledTransports": ["ws"],
            "channelAuthorization": {"endpoint": endpoint, "transport": "ajax"},
            "userAuthentication": {"endpoint": endpoint, "transport": "ajax"},
            **options,
        }
        start = {"library": library, "broadcaster": broadcaster, "key": APP.key, "options": given}
        process = await asyncio.create_subprocess_exec(
            NODE, str(FOLDER / "pusher_js.mjs"), json.dumps(start), stdin=PIPE, stdout=PIPE
        )
        try:
            yield cls(process)
        finally:
            assert process.stdin
            process.stdin.close()
            await asyncio.wait_for(process.wait(), TIMEOUT)

    async def until(self, **values: Any) -> Line:
        """Read reports up to one with these values, and return it."""
        assert self._process.stdout
        async with asyncio.timeout(TIMEOUT):
            while True:
                line: Line = json.loads(await self._process.stdout.readline())
                if values.items() <= line.items():
                    return line

    async def connected(self) -> str:
        """Wait until the client is connected, and return the id of its socket."""
        return str((await self.until(state="connected"))["socket"])

    async def send(self, *command: Any) -> None:
        """Send a command to the client."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        await self._process.stdin.drain()

    async def subscribe(self, name: str, *events: str) -> None:
        """Subscribe to a channel, and bind handlers of events."""
        await self.send("subscribe", name, *events)
        await self.until(subscribed=name)

    async def events(self, count: int) -> list[Any]:
        """Return the data of so many events."""
        return [(await self._event())["data"] for _ in range(count)]

    async def _event(self) -> Line:
        while "event" not in (line := await self.until()):
            pass
        return line


async def call_node_sdk(origin: str, method: str, *args: Any) -> tuple[int, str]:
    """Call a method of Pusher's server SDK for Node, and return the status and the text."""
    url = urlsplit(origin)
    options = {
        "appId": APP.app_id,
        "key": APP.key,
        "secret": APP.secret,
        "host": url.hostname,
        "port": str(url.port),
        "useTLS": False,
    }
    parts = [json.dumps(part) for part in (options, method, args)]
    process = await asyncio.create_subprocess_exec(
        NODE, str(FOLDER / "server_sdk.mjs"), *parts, stdout=PIPE
    )
    async with asyncio.timeout(TIMEOUT):
        output, _ = await process.communicate()
    answer = json.loads(output)
    return answer["status"], answer["text"]
