"""Application on RQ, for a worker and its clients."""

from typing import Any

import rq

from realtime_bridge import BlockingBroadcaster
from realtime_bridge.integrations.rq import track_tasks
from realtime_bridge.integrations.tasks import Task


def channel(task: Task) -> str | None:
    user = task.kwargs["user"]
    return f"user-{user}" if user else None


broadcaster = BlockingBroadcaster.from_env()
options: Any = {"cancellable": lambda _: True, "result": True}
Queue, Worker = track_tasks(broadcaster, channel, **options)
_, SimpleWorker = track_tasks(broadcaster, channel, worker=rq.SimpleWorker, **options)
