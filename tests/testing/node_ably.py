"""An unmodified ably-js in a Node process, as far as a test talks to it."""

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
    """Reads what the process tells, and tells it what to do."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @classmethod
    @asynccontextmanager
    async def run(cls, *channels: str, **options: Any) -> AsyncIterator[Self]:
        """Run a client that listens to these channels, until the block ends."""
        what = json.dumps({"options": options, "channels": channels})
        process = await asyncio.create_subprocess_exec(
            NODE, str(PROGRAM), what, stdin=PIPE, stdout=PIPE
        )
        try:
            yield cls(process)
        finally:
            assert process.stdin
            process.stdin.close()
            await asyncio.wait_for(process.wait(), TIMEOUT)

    async def line(self) -> Line:
        """Return the next line."""
        assert self._process.stdout
        async with asyncio.timeout(TIMEOUT):
            line: Line = json.loads(await self._process.stdout.readline())
            return line

    async def until(self, **wanted: Any) -> Line:
        """Read on to a line with these values, and return it."""
        while True:
            line = await self.line()
            if wanted.items() <= line.items():
                return line

    async def tell(self, *command: Any) -> None:
        """Give it a command."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        await self._process.stdin.drain()
