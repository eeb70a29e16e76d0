"""Lines of JSON that the lab's processes write, and their standard input."""

import asyncio
import sys
import time
from asyncio import StreamReader, StreamReaderProtocol

import orjson


def write(**fields: object) -> None:
    """Write a record with the time now."""
    sys.stdout.buffer.write(orjson.dumps({"at": time.time(), **fields}) + b"\n")
    sys.stdout.buffer.flush()


async def standard_input() -> StreamReader:
    """Return a reader of standard input, whose end stops the process."""
    reader = StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: StreamReaderProtocol(reader), sys.stdin)
    return reader
