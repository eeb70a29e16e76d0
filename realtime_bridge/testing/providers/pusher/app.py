"""State of a local Pusher app, shared by its HTTP API and its connections."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Literal, Protocol

from realtime_bridge.protocol.pusher.codes import PusherCode
from realtime_bridge.protocol.pusher.signatures import PusherApp as Credentials
from realtime_bridge.testing.providers.changes import Changes
from realtime_bridge.testing.providers.faults import Faults
from realtime_bridge.testing.providers.pusher.channels import Channels, Subscriber

AppState = Literal["enabled", "disabled", "over its quota"]


class Connection(Subscriber, Protocol):
    """Open connection of a client, as its app uses it."""

    @property
    def user(self) -> str | None:
        """User that has signed in."""

    async def close(self, code: int, reason: str = "") -> None:
        """Close the connection with a code."""

    def cut(self) -> None:
        """Reset the connection without a closing handshake."""


class PusherApp:
    """Credentials, channels, connections, faults and counters of one app.

    Args:
        app_id: the app's id; digits only, which the SDKs enforce.
        key: the public key with which clients connect.
        secret: the secret that signs calls and subscriptions.
        activity_timeout: the seconds of silence after which clients send a ping.

    """

    def __init__(self, *, app_id: str, key: str, secret: str, activity_timeout: int) -> None:
        self.app_id = app_id
        self.key = key
        self.secret = secret
        self.credentials: Credentials = Credentials(app_id, key, secret)
        self.activity_timeout = activity_timeout
        self.state: AppState = "enabled"
        self.faults: Faults = Faults()
        self.channels: Channels = Channels()
        self.changes: Changes = Changes()
        self.open_connections: set[Connection] = set()
        self.calls = self.accepted = 0
        """Number of API calls, and number of accepted sockets, since the start."""
        self.callers: set[object] = set()
        """Addresses of the connections that API calls came from."""
        self._tasks: set[asyncio.Task[None]] = set()

    def terminate(self, user: str) -> None:
        """Close the connections of a signed-in user."""
        for connection in [one for one in self.open_connections if one.user == user]:
            self.run_soon(connection.close(PusherCode.UNAUTHORIZED, "Terminated"))

    def run_soon(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in a task of its own."""
        task = asyncio.get_running_loop().create_task(coroutine)
        # The event loop itself stores only weak references to tasks.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
