"""Server memory of idle connections, as the growth of the resident memory, in several set-ups."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.harness import resident_bytes, run_server
from bench.peers import OURS, PORTABLE, Peer, prepared_command
from bench.storms import READY, load_client, private_subscriptions

WARM = 500
"""Connections that are opened and closed first: what is allocated once is allocated then."""


@dataclass(frozen=True)
class Setup:
    """Server and clients of a measurement.

    Args:
        peer: the server.
        path: path of its WebSocket.
        ready: text of the frame that confirms the subscription.
        lines: returns the first frames of each of a number of clients.

    """

    peer: Peer
    path: str
    ready: str
    lines: Callable[[int], list[str]]


def _pusher_subscriptions(count: int) -> list[str]:
    subscribe = '{"event":"pusher:subscribe","data":{"channel":"bench-%d"}}'
    return [subscribe % number for number in range(count)]


SETUPS = {
    "fast WebSocket of `serve`": Setup(OURS, OURS.path, READY, private_subscriptions),
    "ASGI on uvicorn": Setup(PORTABLE, PORTABLE.path, READY, private_subscriptions),
    "Pusher's protocol of `serve`": Setup(
        OURS, "/app/bench-key?protocol=7", "subscription_succeeded", _pusher_subscriptions
    ),
}
_DOOR = {
    "REALTIME_PUSHER_DOOR": "true",
    "REALTIME_PUSHER_APP_ID": "1001",
    "REALTIME_PUSHER_KEY": "bench-key",
    "REALTIME_PUSHER_SECRET": "a secret of the bench",
}


def bytes_each(setup: Setup, connections: int) -> float:
    """Return the server's memory per idle connection with one subscription, in bytes."""
    options = ("--path", setup.path, "--ready", setup.ready)
    with prepared_command(setup.peer) as command, run_server(command, env=_DOOR) as server:
        with load_client(server, setup.lines(WARM), *options) as load:
            load.wait_until_ready(WARM)
        time.sleep(0.5)
        before = resident_bytes(server.pid)
        with load_client(server, setup.lines(connections), *options) as load:
            load.wait_until_ready(connections)
            time.sleep(0.5)
            return (resident_bytes(server.pid) - before) / connections
