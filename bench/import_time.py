"""Time of `import realtime_bridge` over a bare interpreter: the median of several runs."""

import os
import subprocess
import sys
from statistics import median
from time import perf_counter

RUNS = 21
LIMIT_MS = 20.0

ENVIRONMENT = {
    name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
}
"""A deployment has compiled modules: the first run, which is not counted, writes them."""


def milliseconds(program: str) -> float:
    """Return the duration of a fresh interpreter that runs `program`."""
    started = perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, env=ENVIRONMENT)
    return 1_000 * (perf_counter() - started)


def main() -> None:
    programs = ("pass", "import realtime_bridge", "from realtime_bridge import BlockingBroadcaster")
    for program in programs:
        milliseconds(program)
    rounds = [[milliseconds(program) for program in programs] for _ in range(RUNS)]
    bare, package, name = (median(column) for column in zip(*rounds, strict=True))
    print(f"bare interpreter              {bare:6.1f} ms")
    print(f"import realtime_bridge        {package:6.1f} ms  {package / bare:.2f}x")
    print(f"from … import Blocking…       {name:6.1f} ms  {name / bare:.2f}x")
    print(f"over the bare interpreter     {package - bare:6.1f} ms  (under {LIMIT_MS:g})")
    sys.exit(package - bare >= LIMIT_MS)


if __name__ == "__main__":
    main()
