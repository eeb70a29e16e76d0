"""Reference of a machine's speed: a Python call that stores a value in a dictionary."""

import time

CALLS = 200_000


def reference_us() -> float:
    """Return the processor time of one reference call in microseconds, the least of five runs."""
    return min(_run() for _ in range(5))


def _run() -> float:
    values: dict[int, int] = {}

    def store(number: int) -> int:
        values[number & 1023] = number
        return number

    start = time.process_time()
    for number in range(CALLS):
        store(number)
    return 1e6 * (time.process_time() - start) / CALLS
