"""Django: publish on commit, the session's user, and the bridge in Django's process.

from realtime_bridge.integrations.django import asgi, session_user
from realtime_bridge.server import Bridge

bridge = Bridge.from_env(authenticate=session_user)
application = asgi(get_asgi_application(), bridge)  # `wsgi` in wsgi.py
"""

import asyncio
import atexit
import threading
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from a2wsgi import ASGIMiddleware
from django.conf import settings
from django.contrib.auth import aget_user, get_user
from django.contrib.sessions.backends.base import SessionBase
from django.db import connections, transaction
from django.http import HttpRequest
from django.utils.module_loading import import_string

from realtime_bridge.backend.loop_thread import LoopThread
from realtime_bridge.backend.native_threads import has_greenlets, wait_for
from realtime_bridge.model.event import Event
from realtime_bridge.publishing.blocking import BlockingBroadcaster

if TYPE_CHECKING:
    from realtime_bridge.model.user import UserId
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
    """Publish when the transaction commits; without a transaction, publish at once.

    The request waits for the log at most 1 s, and not at all in an outage; the event is published
    when the log answers again. A failure is logged, because the view's work is complete. For an
    event that must not be lost with the process, publish within the transaction:
    `transaction=connection`, with PostgreSQL as the log.

    Args:
        broadcaster: publisher.
        channel: channel of the event; see `Event` for this and the next arguments.
        event: name of the event.
        data: JSON data.
        id: idempotency key; a repeated id is published once.
        key: subject of the event; the log keeps the latest event per key.
        source: client that caused the event.
        using: name of the database, as for `transaction.on_commit`.

    Returns:
        The event's id.

    Raises:
        InvalidEventError: channel, name or data is invalid.

    """
    publication = Event(channel=channel, event=event, data=data, id=id, key=key, source=source)

    # A function, not a `partial`: Django writes its `__qualname__` into the log of a failure.
    def publish() -> None:
        broadcaster.publish_in_background([publication])

    transaction.on_commit(publish, using=using, robust=True)
    return publication.id


async def session_user(request: "Request") -> "UserId | None":
    """Return the primary key of the session's user, or None: for `Bridge(authenticate=…)`."""
    django_request = HttpRequest()
    store: type[SessionBase] = import_string(f"{settings.SESSION_ENGINE}.SessionStore")
    django_request.session = store(request.cookies.get(settings.SESSION_COOKIE_NAME))
    if has_greenlets():
        # asgiref's thread would be a greenlet of the loop's own thread, where Django refuses calls.
        loop = asyncio.get_running_loop()
        user = await loop.run_in_executor(None, _user_of, django_request)
    else:
        user = await aget_user(django_request)
    if not (user.is_authenticated and user.is_active):
        return None
    return user.pk if isinstance(user.pk, int | str | UUID) else str(user.pk)


def _user_of(request: HttpRequest) -> Any:
    try:
        user = get_user(request)
        user.is_authenticated  # noqa: B018 -- it reads the user, which is lazy
        return user
    finally:
        connections.close_all()  # this thread ends, and its connections with it


def asgi(application: ASGIApplication, bridge: "Bridge") -> ASGIApplication:
    """Return Django's ASGI application with the bridge at `REALTIME_PATH`."""

    async def route(scope: Scope, receive: Any, send: Any) -> None:
        is_bridge = scope["type"] == "lifespan" or scope["path"].startswith(f"{bridge.path}/")
        await (bridge if is_bridge else application)(scope, receive, send)

    return route


def wsgi(application: WSGIApplication, bridge: "Bridge") -> WSGIApplication:
    """Return Django's WSGI application with the bridge at `REALTIME_PATH`, without its sockets.

    Clients poll or use a hosted provider; for sockets run `realtime-bridge serve` beside it. In
    each process the bridge starts with its first request, on an event loop in a thread.
    """
    bridge_application = _ThreadedBridge(bridge)

    def route(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        is_bridge = environ["PATH_INFO"].startswith(f"{bridge.path}/")
        return (bridge_application if is_bridge else application)(environ, start_response)

    return route


class _ThreadedBridge:
    """Bridge as a WSGI application, on its own event loop in a thread."""

    def __init__(self, bridge: "Bridge") -> None:
        self._bridge = bridge
        self._lock = threading.Lock()
        self._wsgi_application: WSGIApplication | None = None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == f"{self._bridge.path}/sse":
            start_response("501 Not Implemented", [("Content-Type", "text/plain")])
            return [
                b"A stream would occupy a worker of this WSGI server permanently: poll instead\n"
            ]
        with self._lock:
            self._wsgi_application = self._wsgi_application or self._start()
        return self._wsgi_application(environ, start_response)

    def _start(self) -> WSGIApplication:
        thread = LoopThread("realtime-bridge-wsgi")
        loop = thread.loop
        try:
            _wait_for_end(asyncio.run_coroutine_threadsafe(self._bridge.__aenter__(), loop))
        except BaseException:
            thread.stop()  # each request would start another one
            raise
        atexit.register(self._stop, loop)
        return cast("WSGIApplication", ASGIMiddleware(cast("Any", self._bridge), loop=loop))

    def _stop(self, loop: asyncio.AbstractEventLoop) -> None:
        stop = self._bridge.__aexit__(None, None, None)
        _wait_for_end(asyncio.run_coroutine_threadsafe(stop, loop))


def _wait_for_end(future: Future[Any]) -> None:
    if not wait_for(future, STOP_SECONDS):
        raise TimeoutError(f"the bridge did not answer within {STOP_SECONDS:g} s")
    future.result()
