"""Django: events that wait for the commit, its session's user, and the server in its own process.

from realtime_bridge.integrations.django import asgi, session_user
from realtime_bridge.server import Bridge

bridge = Bridge.from_env(authenticate=session_user)
application = asgi(get_asgi_application(), bridge)  # `wsgi` in wsgi.py
"""

import asyncio
import atexit
import threading
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from a2wsgi import ASGIMiddleware
from django.conf import settings
from django.contrib.auth import aget_user
from django.contrib.sessions.backends.base import SessionBase
from django.db import transaction
from django.http import HttpRequest
from django.utils.module_loading import import_string

from realtime_bridge.model.event import Event
from realtime_bridge.publishing.blocking import BlockingBroadcaster

if TYPE_CHECKING:
    from realtime_bridge.server import Bridge
    from realtime_bridge.server.http.request import Request

Scope = MutableMapping[str, Any]
ASGIApplication = Callable[[Scope, Any, Any], Awaitable[None]]

STOP_SECONDS = 5.0


def publish_on_commit(
    broadcaster: BlockingBroadcaster,
    channel: str,
    event: str,
    data: Any = None,
    *,
    id: str | None = None,  # noqa: A002 -- as in `publish`
    key: str | None = None,
    source: str | None = None,
    using: str | None = None,
) -> str:
    """Publish when the transaction commits, never if it rolls back; at once outside of any.

    What goes wrong after the commit is logged, for the view's work is done by then. Where an event
    must never be lost, publish within the transaction instead: `transaction=connection`, with
    PostgreSQL as the log.

    Args:
        broadcaster: what publishes.
        channel: where to; this one and the next are explained by `Event`.
        event: its name.
        data: what it says.
        id: makes repeating it safe.
        key: what it is about.
        source: the client that caused it.
        using: the name of the database, as for `transaction.on_commit`.

    Returns:
        The event's id.

    Raises:
        InvalidEventError: the event cannot be published at all.

    """
    made = Event(channel=channel, event=event, data=data, id=id, key=key, source=source)
    transaction.on_commit(partial(broadcaster.publish_many, [made]), using=using, robust=True)
    return made.id


async def session_user(request: "Request") -> str | None:
    """Return the id of who is logged in, by Django's session: for `Bridge(authenticate=…)`."""
    seen = HttpRequest()
    store: type[SessionBase] = import_string(f"{settings.SESSION_ENGINE}.SessionStore")
    seen.session = store(request.cookies.get(settings.SESSION_COOKIE_NAME))
    user = await aget_user(seen)
    return str(user.pk) if user.is_authenticated and user.is_active else None


def asgi(application: ASGIApplication, bridge: "Bridge") -> ASGIApplication:
    """Return Django's ASGI application with the bridge at `REALTIME_PATH`."""

    async def both(scope: Scope, receive: Any, send: Any) -> None:
        ours = scope["type"] == "lifespan" or scope["path"].startswith(f"{bridge.path}/")
        await (bridge if ours else application)(scope, receive, send)

    return both


def wsgi(application: WSGIApplication, bridge: "Bridge") -> WSGIApplication:
    """Return Django's WSGI application with the bridge at `REALTIME_PATH`, without its sockets.

    ConnectionRegistry poll, or hear a hosted provider; for sockets run `realtime-bridge serve` beside it. In
    each process the bridge starts with its first request, on an event loop in a thread.
    """
    beside = _InThread(bridge)

    def both(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        ours = environ["PATH_INFO"].startswith(f"{bridge.path}/")
        return (beside if ours else application)(environ, start_response)

    return both


class _InThread:
    """A WSGI application that is a bridge on an event loop of its own."""

    def __init__(self, bridge: "Bridge") -> None:
        self._bridge = bridge
        self._lock = threading.Lock()
        self._served: WSGIApplication | None = None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == f"{self._bridge.path}/sse":
            start_response("501 Not Implemented", [("Content-Type", "text/plain")])
            return [b"A stream would hold a worker of this WSGI server for ever: poll instead\n"]
        with self._lock:
            self._served = self._served or self._start()
        return self._served(environ, start_response)

    def _start(self) -> WSGIApplication:
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, name="realtime-bridge-wsgi", daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._bridge.__aenter__(), loop).result()
        atexit.register(self._stop, loop)
        return cast("WSGIApplication", ASGIMiddleware(cast("Any", self._bridge), loop=loop))

    def _stop(self, loop: asyncio.AbstractEventLoop) -> None:
        leaving = self._bridge.__aexit__(None, None, None)
        asyncio.run_coroutine_threadsafe(leaving, loop).result(STOP_SECONDS)
