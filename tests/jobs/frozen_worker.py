"""Worker with one job, which reports nothing until the input ends."""

import sys

from realtime_bridge import BlockingBroadcaster, Broadcaster
from realtime_bridge_backends.redis import RedisBackend


def main(url: str, lease: str) -> None:
    """Run the job."""
    with (
        BlockingBroadcaster(lambda: Broadcaster(log=RedisBackend(url))) as broadcaster,
        broadcaster.job("user-42", id="a1", lease=float(lease)),
    ):
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
