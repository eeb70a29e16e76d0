"""Application on taskiq, for a worker and its clients."""

import asyncio
import os
from typing import Annotated

from taskiq import Context, SmartRetryMiddleware, TaskiqDepends
from taskiq_redis import RedisStreamBroker

from realtime_bridge import BlockingBroadcaster
from realtime_bridge.integrations.taskiq import current_job, track_tasks
from tests.integrations import work

REDIS = os.environ.get("QUEUE_REDIS_URL", "redis://127.0.0.1:6379/0")

broker = RedisStreamBroker(
    REDIS,
    queue_name=os.environ.get("QUEUE", "taskiq"),
    consumer_id="0",
    xread_block=100,
    idle_timeout=int(os.environ.get("QUEUE_IDLE_MS", "600000")),
)
broker.add_middlewares(SmartRetryMiddleware(default_retry_count=2, default_delay=1))

broadcaster = BlockingBroadcaster.from_env()
track_tasks(broker, broadcaster, work.channel, cancellable=lambda _: True, result=True)

works = broker.task(work.works)
raises = broker.task(work.raises)
is_retried = broker.task(retry_on_error=True)(work.is_retried)
returns = broker.task(work.returns)
works_on = broker.task(retry_on_error=True)(work.works_on)
is_killed = broker.task(work.is_killed)


@broker.task(retry_on_error=True)
async def waits(*, user: str) -> None:
    """Wait, without a look at the job, until the wait is cancelled."""
    await asyncio.sleep(3_600)


@broker.task(timeout=0.5)
async def runs_too_long(*, user: str) -> None:
    await asyncio.sleep(3_600)


@broker.task
async def reports(user: str) -> str:
    current_job().progress(0.5)
    return current_job().id


@broker.task
async def requeues(*, user: str, context: Annotated[Context, TaskiqDepends()]) -> None:
    if work.count(user) == 1:
        await context.requeue()
