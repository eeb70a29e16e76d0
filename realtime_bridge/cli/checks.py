"""Checks of a deployment: configuration, components, and one event through all of them."""

import asyncio
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from typing import Any

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.backend.component import CheckResult, Component
from realtime_bridge.backend.environment import misspelt_variables
from realtime_bridge.backend.feed import Feed, FeedInterrupted
from realtime_bridge.backend.hosted import (
    AuthorizationRequest,
    HostedBackend,
    ListenableBackend,
)
from realtime_bridge.backend.log import Log
from realtime_bridge.backend.provider_connection import (
    AccessDeniedError,
    ChannelFailedError,
    ConnectionLostError,
)
from realtime_bridge.cli.lineage import compare_with_server
from realtime_bridge.errors import BackendUnavailableError, ConfigurationError, RealtimeError
from realtime_bridge.model import ids
from realtime_bridge.model.event import Event
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.model.secret_list import split_secrets
from realtime_bridge.publishing.broadcaster import Broadcaster
from realtime_bridge.publishing.failover import Failover
from realtime_bridge.publishing.pipeline import server_pipeline
from realtime_bridge.settings import DEVELOPMENT_SECRET, Settings

CHECK_SECONDS = 10.0
"""Time limit of one check, in seconds."""

EVENT = "doctor.test"


async def run_checks() -> AsyncGenerator[CheckResult]:
    """Yield the result of each check: configuration, secret, components, one published event."""
    for variable, nearest in misspelt_variables():
        yield CheckResult(
            check=variable,
            status="warning",
            detail="nothing reads a variable of this name",
            hint=f"Write {nearest}, if that is meant",
        )
    try:
        settings = Settings.load()
        if settings.pusher_door:
            from realtime_bridge.server.pusher.settings import PusherAppSettings

            PusherAppSettings.load()  # a check: a server does not start without them
        broadcaster = Broadcaster.from_settings(settings)
        # Where the server pushes for its workers, its configuration has to work too.
        backend = broadcaster.backend or server_pipeline(settings).backend
    except ConfigurationError as error:
        yield CheckResult(check="configuration", status="failed", detail=str(error))
        return
    log = f"the log is {broadcaster.log}" if broadcaster.log else "without a log"
    chosen = f"REALTIME_BACKEND={settings.backend}; {log}"
    yield CheckResult(check="configuration", status="ok", detail=chosen)
    yield _secret(settings)
    for result in _pages(settings):
        yield result
    usable = True
    for part in (broadcaster.log, backend):
        for result in await _check(part):
            usable &= result.status != "failed"
            yield result
    if usable:
        yield await _publish(broadcaster)


def _secret(settings: Settings) -> CheckResult:
    secrets = split_secrets(settings.secret) if settings.secret else ()
    if not secrets or DEVELOPMENT_SECRET in secrets:
        return CheckResult(
            check="REALTIME_SECRET",
            status="warning",
            detail="not set: the development secret is public, and only --dev accepts it",
            hint="Make one with `openssl rand -hex 32`, and set it for the server and its workers",
        )
    several = f"{len(secrets)} secrets: the first signs, all verify"
    detail = several if len(secrets) > 1 else "set"
    return CheckResult(check="REALTIME_SECRET", status="ok", detail=detail)


def _pages(settings: Settings) -> Iterator[CheckResult]:
    """Yield what decides about pages and clients, where it is set."""
    if settings.origins:
        detail = f"pages of the server's own host, and of {', '.join(settings.origins)}"
        yield CheckResult(check="REALTIME_ORIGINS", status="ok", detail=detail)
    if settings.dev and settings.secret and settings.secret != DEVELOPMENT_SECRET:
        yield CheckResult(
            check="REALTIME_DEV",
            status="failed",
            detail="trusts every client of this machine, and REALTIME_SECRET is set",
            hint="Remove one of the two: a server refuses both together",
        )


async def _check(part: Component | None) -> list[CheckResult]:
    if part is None:
        return []
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await backend_call(part, _enter_and_check, part)
    except (RealtimeError, TimeoutError) as error:
        detail = str(error) or f"no answer in {CHECK_SECONDS:g} s"
        return [CheckResult(check=str(part), status="failed", detail=detail)]


async def _enter_and_check(part: Component) -> list[CheckResult]:
    async with part:
        results = await part.check()
        if isinstance(part, Log) and part.lineage:
            results.append(await compare_with_server(part.lineage))
        return results


async def _publish(broadcaster: Broadcaster) -> CheckResult:
    """Publish an event on a fresh channel, and receive it on the way that clients do."""
    channel = f"doctor-{ids.epoch()}"
    start = time.monotonic()
    try:
        async with asyncio.timeout(CHECK_SECONDS), broadcaster:
            outcome = await _publish_and_receive(broadcaster, channel)
    except (RealtimeError, ConnectionLostError, AccessDeniedError, ChannelFailedError) as error:
        return CheckResult(check="publish", status="failed", detail=str(error))
    except TimeoutError:
        detail = f"an event was published, and not received within {CHECK_SECONDS:g} s"
        return CheckResult(check="publish", status="failed", detail=detail)
    duration = f"{(time.monotonic() - start) * 1_000:.0f} ms"
    return CheckResult(check="publish", status="ok", detail=f"an event was {outcome} in {duration}")


async def _publish_and_receive(broadcaster: Broadcaster, channel: str) -> str:
    async def publish() -> Receipt:
        receipt = await broadcaster.publish(channel, EVENT)
        if not receipt.pushed:
            raise BackendUnavailableError(
                f"an event is in the log, but {broadcaster.backend or 'the backend'} did not "
                "accept it, so clients get it late: see the log line `push failed`"
            )
        return receipt

    log, backend = broadcaster.log, broadcaster.backend
    if isinstance(backend, Failover):
        backend = backend.active.backend
    if isinstance(backend, ListenableBackend):
        await _receive_from_provider(backend, channel, publish)
        return f"published and received by {backend}"
    # With a provider, what the log announces shows nothing about the way to the clients.
    if isinstance(backend, HostedBackend):
        await publish()
        return f"accepted by {backend}"
    if isinstance(log, Feed):
        await _receive_one(log, channel, publish)
        return "published and received"
    receipt = await publish()
    if isinstance(log, Log) and receipt.position:
        await log.read(channel, receipt.position)
        return "published and read"
    return "accepted by the backend"


async def _receive_from_provider(
    backend: ListenableBackend, channel: str, publish: Callable[[], Awaitable[Receipt]]
) -> None:
    async def allow(_: str) -> bool:
        return True

    async def authorize(fields: Mapping[str, str]) -> Mapping[str, Any]:
        request = AuthorizationRequest(user="doctor", client="doctor", seconds=60, allow=allow)
        return await backend.authorize(fields, request) or {}

    async with backend.create_connection(backend.options, [channel], authorize) as connection:
        await connection.subscribe(channel)
        receipt = await publish()
        async for text in connection:
            if isinstance(text, str) and receipt.id in text:
                return
    raise ConnectionLostError(f"{backend} ended the connection: see its status page")


async def _receive_one(feed: Feed, channel: str, publish: Callable[[], Awaitable[object]]) -> None:
    async with feed.listen() as listener, aclosing(_events(aiter(listener))) as events:
        await listener.subscribe([channel])
        await publish()
        await anext(events)


async def _events(
    turns: AsyncIterator[Sequence[Event] | FeedInterrupted],
) -> AsyncGenerator[Event]:
    async for turn in turns:
        if not isinstance(turn, FeedInterrupted):
            for event in turn:
                yield event
