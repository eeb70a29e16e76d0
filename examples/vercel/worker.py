"""Worker that makes exports and publishes their progress; it needs a host for long processes."""

import os
import time

from redis import Redis

from realtime_bridge import BlockingBroadcaster

QUEUE = "exports"
SECONDS = float(os.environ.get("EXPORT_SECONDS", "5"))


def export(broadcaster: BlockingBroadcaster, user: str, job: str) -> None:
    """Simulate an export, and publish its progress."""
    channel, key = f"user-{user}", f"job-{job}"
    for percent in range(0, 100, 10):
        broadcaster.publish(channel, "job.progress", {"job": job, "percent": percent}, key=key)
        time.sleep(SECONDS / 10)
    broadcaster.publish(channel, "job.completed", {"job": job}, key=key)


def main() -> None:
    """Process one export after the other."""
    redis = Redis.from_url(os.environ["REDIS_URL"], decode_responses=True, socket_timeout=None)
    with BlockingBroadcaster.from_env() as broadcaster:
        while True:
            _, item = redis.brpop([QUEUE])
            export(broadcaster, *item.split())


if __name__ == "__main__":
    main()
