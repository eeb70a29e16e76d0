"""Scheduler of APScheduler that adds the jobs which its clients name in a list of Redis.

Its process stands for an application: APScheduler's schedulers share no jobs.
"""

import asyncio
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import redis
from apscheduler.jobstores.redis import RedisJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler

from realtime_bridge import BlockingBroadcaster
from realtime_bridge.integrations.apscheduler import current_job, track_tasks
from tests.integrations import work

REDIS = os.environ.get("QUEUE_REDIS_URL", "redis://127.0.0.1:6379/0")
broadcaster = BlockingBroadcaster.from_env()


async def waits_async(*, user: str) -> None:
    """Wait, without a look at the job, until the wait is cancelled."""
    await asyncio.sleep(3_600)


async def reports_async(*, user: str) -> str:
    current_job().progress(0.5)
    return current_job().id


def call(client: redis.Redis, name: str, user: str, **options: Any) -> None:
    """Ask the scheduler to add a job, whose id is that of the user."""
    client.rpush("calls", json.dumps({"name": name, "user": user, **options}))


def obey(scheduler: Any, order: dict[str, Any]) -> None:
    name, user = order["name"], order["user"]
    if name == "remove":
        scheduler.remove_job(user)
        return
    if name == "start":
        scheduler.modify_job(user, next_run_time=datetime.now(UTC))
        return
    function = globals().get(name) or getattr(work, name)
    options: dict[str, Any] = {"id": user, "kwargs": {"user": user}, "misfire_grace_time": 60}
    if "delay" in order:
        options["run_date"] = datetime.now(UTC) + timedelta(seconds=order["delay"])
        options["misfire_grace_time"] = 10
    if "every" in order:
        options |= {"seconds": order["every"], "next_run_time": datetime.now(UTC)}
    trigger = "interval" if "every" in order else "date"
    scheduler.add_job(function, trigger, **options)


async def main(kind: str) -> None:
    client = redis.Redis.from_url(REDIS, socket_timeout=None)  # it waits without an end
    host, port = client.get_connection_kwargs()["host"], client.get_connection_kwargs()["port"]
    scheduler: Any = AsyncIOScheduler() if kind == "asyncio" else BackgroundScheduler()
    scheduler.add_jobstore(RedisJobStore(host=host, port=port))
    track_tasks(scheduler, broadcaster, work.channel, cancellable=lambda _: True, result=True)
    scheduler.start()
    while True:
        item: Any = await asyncio.to_thread(client.blpop, ["calls"])
        obey(scheduler, json.loads(item[1]))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
