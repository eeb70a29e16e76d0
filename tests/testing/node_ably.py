"""Unmodified ably-js in a Node process, controlled by a test."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

NODE = str(Path(sys.executable).with_name("node"))
PROGRAM = Path(__file__).with_name("ably_client.mjs")
TIMEOUT = 20.0

Line = dict[str, Any]


class NodeAbly:
    """Process with an ably-js client: its reports, and commands for it."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @classmethod
    @asynccontextmanager
    async def run(cls, *channels: str, **options: Any) -> AsyncIterator[Self]:
        """Run a client that subscribes to these channels, until the block ends."""
        configuration = json.dumps({"options": options, "channels": channels})
        process = await asyncio.create_subprocess_exec(
            NODE, str(PROGRAM), configuration, stdin=PIPE, stdout=PIPE
        )
        try:
            yield cls(process)
        finally:
            assert process.stdin
            process.stdin.close()
            await asyncio.wait_for(process.wait(), TIMEOUT)

    async def line(self) -> Line:
        """Return the next report."""
        assert self._process.stdout
        async with asyncio.timeout(TIMEOUT):
            line: Line = json.loads(await self._process.stdout.readline())
            return line

    async def until(self, **values: Any) -> Line:
        """Read lines up to a line with these values; return that line."""
        while True:
            line = await self.line()
            if values.items() <= line.items():
                return line

    async def send(self, *command: Any) -> None:
        """Send a command to the client."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        await self._process.stdin.drain()
