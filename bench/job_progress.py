"""What a call of `job.progress` costs that publishes nothing: python bench/job_progress.py."""

import statistics
import time

from realtime_bridge import BlockingBroadcaster, Broadcaster
from realtime_bridge_backends.memory import MemoryBackend

CALLS, ROUNDS = 20_000, 7


def main() -> None:
    with (
        BlockingBroadcaster(lambda: Broadcaster(log=MemoryBackend())) as broadcaster,
        broadcaster.job("user-42", title="Measured") as job,
    ):
        costs = []
        for _ in range(ROUNDS):
            for n in range(CALLS):
                begun = time.perf_counter_ns()
                job.progress(n / CALLS)
                costs.append(time.perf_counter_ns() - begun)
    costs.sort()
    print(
        f"job.progress: {statistics.median(costs) / 1_000:.2f} µs at the median, "
        f"{costs[len(costs) * 99 // 100] / 1_000:.2f} µs at p99"
    )


if __name__ == "__main__":
    main()
