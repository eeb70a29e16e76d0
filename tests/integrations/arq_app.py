"""Application on arq, for a worker and its clients."""

import asyncio
import os
from itertools import count as count_from
from typing import Any

from arq import Retry, func
from arq.connections import RedisSettings

from realtime_bridge import BlockingBroadcaster
from realtime_bridge.integrations.arq import current_job, track_tasks
from tests.integrations import work

REDIS = os.environ.get("QUEUE_REDIS_URL", "redis://127.0.0.1:6379/0")


async def works(ctx: dict[str, Any], *, user: str) -> None:
    await asyncio.to_thread(work.works, user=user)


async def raises(ctx: dict[str, Any], *, user: str) -> None:
    work.raises(user=user)


async def is_retried(ctx: dict[str, Any], *, user: str) -> None:
    try:
        work.is_retried(user=user)
    except ValueError as error:
        raise Retry from error


async def returns(ctx: dict[str, Any], user: str) -> dict[str, int]:
    return work.returns(user=user)


async def waits(ctx: dict[str, Any], *, user: str) -> None:
    """Wait, without a look at the job, until the wait is cancelled."""
    await asyncio.sleep(3_600)


async def asks(ctx: dict[str, Any], *, user: str) -> str:
    return str(await current_job().ask_async("Go on?", id="q", choices=["yes", "no"]))


async def works_on(ctx: dict[str, Any], *, user: str) -> None:
    for number in count_from():
        current_job().progress(stage=f"step {number}")
        await asyncio.sleep(0.02)


async def is_killed(ctx: dict[str, Any], *, user: str) -> None:
    work.is_killed(user=user)


class WorkerSettings:
    functions = (
        *(works, raises, returns, asks, works_on, is_killed, waits),
        func(is_retried, max_tries=2),
        func(is_retried, name="is_retried_too_often", max_tries=1),
        func(waits, name="runs_too_long", timeout=0.5),
    )
    redis_settings = RedisSettings.from_dsn(REDIS)
    queue_name = os.environ.get("QUEUE", "arq:queue")
    poll_delay = 0.1
    allow_abort_jobs = True


broadcaster = BlockingBroadcaster.from_env()
track_tasks(WorkerSettings, broadcaster, work.channel, cancellable=lambda _: True, result=True)
