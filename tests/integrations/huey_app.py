"""Application on Huey, for a consumer and its clients."""

import os
from typing import Any

from huey import CancelExecution, RedisHuey

from realtime_bridge import BlockingBroadcaster
from realtime_bridge.integrations.huey import track_tasks
from tests.integrations import work

huey = RedisHuey("tests", url=os.environ.get("QUEUE_REDIS_URL", "redis://127.0.0.1:6379/0"))

works = huey.task()(work.works)
raises = huey.task()(work.raises)
is_retried = huey.task(retries=1)(work.is_retried)
exits = huey.task()(work.exits)
fails_oddly = huey.task()(work.fails_oddly)
fails_at_length = huey.task()(work.fails_at_length)
works_on = huey.task(retries=1)(work.works_on)
returns = huey.task()(work.returns)
is_killed = huey.task()(work.is_killed)
kills_all = huey.task()(work.kills_all)
waits = huey.task()(work.waits)
runs_too_long: Any = huey.task(timeout=1, name="runs_too_long")(work.waits)


@huey.task()
def cancels_itself(*, user: str) -> None:
    raise CancelExecution("not needed")


broadcaster = BlockingBroadcaster.from_env()
track_tasks(huey, broadcaster, work.channel, cancellable=lambda _: True, result=True)
