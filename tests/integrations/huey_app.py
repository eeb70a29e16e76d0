"""Application on Huey, for a consumer and its clients."""

from typing import Any

from huey import RedisHuey

from realtime_bridge import BlockingBroadcaster
from realtime_bridge.integrations.huey import track_tasks
from tests.integrations import work

huey = RedisHuey("tests", url=work.REDIS)

works = huey.task()(work.works)
raises = huey.task()(work.raises)
is_retried = huey.task(retries=1)(work.is_retried)
waits = huey.task()(work.waits)
runs_too_long: Any = huey.task(timeout=1, name="runs_too_long")(work.waits)

track_tasks(huey, BlockingBroadcaster.from_env(), lambda task: f"user-{task.kwargs['user']}")
