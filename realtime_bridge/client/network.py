"""Libraries through which a client reaches its server."""

from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
from websockets.asyncio.client import connect


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Ways to open an HTTP session and a WebSocket; a simulation passes its own.

    Args:
        open_session: Opens an HTTP session; the arguments are those of `aiohttp.ClientSession`.
        connect: Opens a WebSocket; the arguments are those of `websockets.connect`.

    """

    open_session: Callable[..., aiohttp.ClientSession] = aiohttp.ClientSession
    connect: Callable[..., connect] = connect
