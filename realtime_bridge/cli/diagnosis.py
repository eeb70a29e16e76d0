"""Whether this deployment's configuration is able to publish and to be heard: what was found."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing

from realtime_bridge import identifiers
from realtime_bridge.backend import Feed, Finding, Interrupted, Log, Plugin
from realtime_bridge.broadcaster import Broadcaster
from realtime_bridge.errors import ConfigurationError, RealtimeError
from realtime_bridge.event import Event
from realtime_bridge.settings import DEVELOPMENT_SECRET, Settings

PATIENCE = 10.0
"""The longest that one look may take, in seconds."""

EVENT = "doctor.test"


async def diagnose() -> AsyncGenerator[Finding]:
    """Look at the configuration, at each part of it, and at an event on its way through all."""
    try:
        settings = Settings.load()
        broadcaster = Broadcaster.from_settings(settings)
    except ConfigurationError as error:
        yield Finding(check="configuration", verdict="failed", detail=str(error))
        return
    log = f"the log is {broadcaster.log}" if broadcaster.log else "without a log"
    chosen = f"REALTIME_BACKEND={settings.backend}; {log}"
    yield Finding(check="configuration", verdict="ok", detail=chosen)
    yield _secret(settings)
    works = True
    for part in (broadcaster.log, broadcaster.backend):
        for finding in await _look_at(part):
            works &= finding.verdict != "failed"
            yield finding
    if works:
        yield await _publish(broadcaster)


def _secret(settings: Settings) -> Finding:
    if settings.secret in (None, DEVELOPMENT_SECRET):
        return Finding(
            check="REALTIME_SECRET",
            verdict="warning",
            detail="not set: everybody knows the development secret, and only --dev accepts it",
            cure="Make one with `openssl rand -hex 32`, and give it to the server and its workers",
        )
    return Finding(check="REALTIME_SECRET", verdict="ok", detail="set")


async def _look_at(part: Plugin | None) -> list[Finding]:
    if part is None:
        return []
    try:
        async with asyncio.timeout(PATIENCE), part:
            return await part.diagnose()
    except (RealtimeError, TimeoutError) as error:
        detail = str(error) or f"no answer in {PATIENCE:g} s"
        return [Finding(check=str(part), verdict="failed", detail=detail)]


async def _publish(broadcaster: Broadcaster) -> Finding:
    """Publish an event on a channel of its own, and hear it where there is something to hear."""
    channel = f"doctor-{identifiers.epoch()}"
    started = time.monotonic()
    try:
        async with asyncio.timeout(PATIENCE), broadcaster:
            heard = await _heard(broadcaster, channel)
    except RealtimeError as error:
        return Finding(check="publish", verdict="failed", detail=str(error))
    except TimeoutError:
        detail = f"an event was published, and not heard within {PATIENCE:g} s"
        return Finding(check="publish", verdict="failed", detail=detail)
    took = f"{(time.monotonic() - started) * 1_000:.0f} ms"
    return Finding(check="publish", verdict="ok", detail=f"an event was {heard} in {took}")


async def _heard(broadcaster: Broadcaster, channel: str) -> str:
    log = broadcaster.log
    if isinstance(log, Feed):
        await _hear_on(log, channel, lambda: broadcaster.publish(channel, EVENT))
        return "published and heard"
    receipt = await broadcaster.publish(channel, EVENT)
    if isinstance(log, Log) and receipt.position:
        await log.read(channel, receipt.position)
        return "published and read"
    return "taken"


async def _hear_on(feed: Feed, channel: str, publish: Callable[[], Awaitable[object]]) -> None:
    async with feed.listen() as listener, aclosing(_events(aiter(listener))) as events:
        await listener.add([channel])
        await publish()
        await anext(events)


async def _events(
    turns: AsyncIterator[Sequence[Event] | Interrupted],
) -> AsyncGenerator[Event]:
    async for turn in turns:
        if not isinstance(turn, Interrupted):
            for event in turn:
                yield event
