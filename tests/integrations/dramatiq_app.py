"""Application on Dramatiq, for a worker and its clients."""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from realtime_bridge import BlockingBroadcaster
from realtime_bridge.integrations.dramatiq import track_tasks
from tests.integrations import work

REDIS = os.environ.get("QUEUE_REDIS_URL", "redis://127.0.0.1:6379/0")
broker = RedisBroker(url=REDIS)  # type: ignore[no-untyped-call]
dramatiq.set_broker(broker)
broadcaster = BlockingBroadcaster.from_env()
track_tasks(broker, broadcaster, work.channel, cancellable=lambda _: True, result=True)

works = dramatiq.actor(work.works)
raises = dramatiq.actor(max_retries=0)(work.raises)
is_retried = dramatiq.actor(max_retries=1, min_backoff=1)(work.is_retried)
returns = dramatiq.actor(work.returns)
works_on = dramatiq.actor(work.works_on)
is_killed = dramatiq.actor(work.is_killed)
runs_too_long = dramatiq.actor(time_limit=500, max_retries=0, actor_name="runs_too_long")(
    work.works_on
)
