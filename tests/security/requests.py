"""Requests as bytes, and the responses to them."""

import asyncio
from dataclasses import dataclass

from tests.server.harness import TIMEOUT


@dataclass
class Answer:
    """Response of a server that closed the connection, or kept it open."""

    status: int
    headers: dict[str, str]
    body: bytes


async def read_answer(reader: asyncio.StreamReader, *, head_only: bool = False) -> Answer:
    """Read one response with a content length."""
    async with asyncio.timeout(TIMEOUT):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        size = 0 if head_only else int(headers.get("content-length", 0))
        return Answer(int(first.split()[1]), headers, await reader.readexactly(size))


async def ask(origin: str, data: bytes, *, head_only: bool = False) -> Answer:
    """Send a request on a connection of its own, and return the response."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(origin))
    try:
        writer.write(data)
        return await read_answer(reader, head_only=head_only)
    finally:
        writer.transport.abort()


def port_of(origin: str) -> int:
    return int(origin.rpartition(":")[2])


def get(path: str, *headers: str, method: str = "GET") -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", "host: 127.0.0.1", *headers, "", "")).encode()


def post(path: str, body: bytes, *headers: str) -> bytes:
    lines = ("content-type: application/json", f"content-length: {len(body)}", *headers)
    return get(path, *lines, method="POST") + body
