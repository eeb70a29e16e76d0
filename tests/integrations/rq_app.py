"""An application on RQ, as workers and clients have it."""

import rq

from realtime_bridge import BlockingBroadcaster
from realtime_bridge.integrations.rq import watch
from realtime_bridge.integrations.tasks import Task


def channel(task: Task) -> str:
    return f"user-{task.kwargs['user']}"


broadcaster = BlockingBroadcaster.from_env()
Queue, Worker = watch(broadcaster, channel)
_, SimpleWorker = watch(broadcaster, channel, worker=rq.SimpleWorker)
