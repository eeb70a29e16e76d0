"""Django: publish on commit, the session's user, and the bridge in Django's process.

from realtime_bridge.integrations.django import asgi, session_user
from realtime_bridge.server import Bridge

bridge = Bridge.from_env(authenticate=session_user)
application = asgi(get_asgi_application(), bridge)  # `wsgi` in wsgi.py

With this module imported, the bridge's rules and `authenticate` leave database connections as a
request of Django does: lost and old ones are closed, and `CONN_MAX_AGE` applies.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, MutableMapping
from functools import wraps
from typing import TYPE_CHECKING, Any, overload
from uuid import UUID

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import aget_user, get_user
from django.contrib.sessions.backends.base import SessionBase
from django.db import close_old_connections, connections, transaction
from django.http import HttpRequest
from django.utils.module_loading import import_string

from realtime_bridge.backend.application_calls import add_wrapper
from realtime_bridge.backend.native_threads import has_greenlets
from realtime_bridge.integrations.wsgi import wsgi
from realtime_bridge.model.declaration import published_event
from realtime_bridge.publishing.blocking import BlockingBroadcaster

if TYPE_CHECKING:
    from pydantic import BaseModel

    from realtime_bridge.model.user import UserId
    from realtime_bridge.server import Bridge
    from realtime_bridge.server.http.request import Request

__all__ = ["asgi", "publish_on_commit", "session_user", "wsgi"]

Scope = MutableMapping[str, Any]
ASGIApplication = Callable[[Scope, Any, Any], Awaitable[None]]


@overload
def publish_on_commit(
    broadcaster: BlockingBroadcaster,
    channel: str,
    event: str,
    data: Any = None,
    *,
    id: str | None = None,
    key: str | None = None,
    source: str | None = None,
    using: str | None = None,
) -> str: ...


@overload
def publish_on_commit(
    broadcaster: BlockingBroadcaster,
    channel: "BaseModel",
    /,
    *,
    id: str | None = None,
    source: str | None = None,
    using: str | None = None,
) -> str: ...


def publish_on_commit(
    broadcaster: BlockingBroadcaster,
    channel: "str | BaseModel",
    event: str | None = None,
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
        channel: channel of the event; see `Event` for this and the next arguments. An object of
            a declared class stands for channel, event, data and key.
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
    publication = published_event(channel, event, data, id=id, key=key, source=source)

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


def _close_old_connections() -> None:
    # Before the settings are used, there is no connection either.
    if settings.configured:
        close_old_connections()


def _with_fresh_connections(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with what Django does at the start and the end of a request."""
    # Django keeps a connection per thread. Outside a request nothing closes it after the database
    # restarted, so each later query of that thread would fail.
    if inspect.iscoroutinefunction(function):
        if has_greenlets():
            # asgiref's thread would be a greenlet of the loop's own thread, which then never ends.
            return function
        close = sync_to_async(_close_old_connections)  # in the thread of the async ORM

        @wraps(function)
        async def call_async(*args: Any, **named: Any) -> Any:
            await close()
            try:
                return await function(*args, **named)
            finally:
                await close()

        return call_async

    @wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        _close_old_connections()
        try:
            return function(*args, **named)
        finally:
            _close_old_connections()

    return call


add_wrapper(_with_fresh_connections)
