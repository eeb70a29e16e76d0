"""Fuzzers with a time budget.

python -m tests.fuzz [--seconds 60] [--seed 1] [NAME …]
"""

import argparse
import time

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, Check

EXAMPLES = 50
"""Inputs between two looks at the clock."""


def fuzz(name: str, *, seconds: float, start: int) -> int:
    """Check inputs until the time is over, and return their number; a failure is raised."""
    inputs, context = TARGETS[name]
    end, number = time.monotonic() + seconds, 0
    with context() as check:
        while time.monotonic() < end:
            _check_some(inputs, check, start + number)
            number += 1
    return number * EXAMPLES


def _check_some(inputs: st.SearchStrategy[object], check: Check, number: int) -> None:
    @seed(number)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    @given(inputs)
    def run(value: object) -> None:
        check(value)

    run()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=float, default=60.0, help="budget of each target")
    parser.add_argument("--seed", type=int, default=time.time_ns(), help="the first seed")
    options = parser.parse_args()
    for name in options.names or TARGETS:
        count = fuzz(name, seconds=options.seconds, start=options.seed)
        print(f"{name}: {count} inputs, seed {options.seed}", flush=True)
