"""Cost of a call of `job.progress` without a publish: python bench/job_progress.py."""

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
                start = time.perf_counter_ns()
                job.progress(n / CALLS)
                costs.append(time.perf_counter_ns() - start)
    costs.sort()
    print(
        f"job.progress: {statistics.median(costs) / 1_000:.2f} µs at the median, "
        f"{costs[len(costs) * 99 // 100] / 1_000:.2f} µs at p99"
    )


if __name__ == "__main__":
    main()
