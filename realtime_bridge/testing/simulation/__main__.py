"""Command that runs many seeds, or prints the trace of one seed."""

import sys
from argparse import ArgumentParser, Namespace
from time import monotonic

from realtime_bridge.testing.simulation.options import Options
from realtime_bridge.testing.simulation.search import SimulationFailedError, search
from realtime_bridge.testing.simulation.simulation import Simulation
from realtime_bridge.testing.simulation.storm import CLIENTS, STORMS, check_storm
from realtime_bridge.testing.simulation.violations import InvariantViolation

WIDTH = 30
REDRAW_SECONDS = 0.2


class Progress:
    """Progress bar on a terminal; no output elsewhere."""

    def __init__(self, seeds: int) -> None:
        self.done: int = 0
        self._seeds = seeds
        self._started = monotonic()
        self._drawn = float("-inf")

    @property
    def rate(self) -> float:
        """Number of seeds per second."""
        return self.done / max(0.001, monotonic() - self._started)

    def step(self, count: int) -> None:
        """Count seeds that passed."""
        self.done += count
        if sys.stderr.isatty() and monotonic() - self._drawn > REDRAW_SECONDS:
            self._drawn = monotonic()
            bar = "━" * min(WIDTH, WIDTH * self.done // self._seeds)
            sys.stderr.write(f"\r{bar:{WIDTH}} {self.done:,} seeds, {self.rate:.0f}/s")
            sys.stderr.flush()

    def clear(self) -> None:
        """Remove the bar."""
        if sys.stderr.isatty():
            sys.stderr.write("\r\033[K")


def main() -> int:
    """Run the command; return its exit code."""
    arguments = _arguments()
    try:
        if arguments.trace is not None:
            Simulation(arguments.trace, options=_options(arguments), trace=print).run()
        elif arguments.storms:
            _storm(arguments.first)
        else:
            _search(arguments)
    except (SimulationFailedError, InvariantViolation) as error:
        sys.stdout.write(f"{error}\n")
        return 1
    return 0


def _options(arguments: Namespace) -> Options:
    return Options(skipped=frozenset(arguments.skip), omitted=frozenset(arguments.without))


def _search(arguments: Namespace) -> None:
    first, seeds = arguments.first, arguments.seeds
    end = monotonic() + 60 * arguments.minutes
    progress = Progress(seeds)
    try:
        while progress.done < seeds or monotonic() < end:
            start = first + progress.done
            search(
                range(start, start + seeds),
                options=_options(arguments),
                processes=arguments.processes,
                on_passed=progress.step,
            )
    finally:
        progress.clear()
    skipped = f" but {', '.join(arguments.skip)}" if arguments.skip else ""
    sys.stdout.write(
        f"{progress.done:,} seeds from {first:,}, {progress.rate:.0f} a second: "
        f"every invariant{skipped} holds\n"
    )


def _storm(seed: int) -> None:
    for storm in STORMS:
        check_storm(storm, seed=seed)
        sys.stdout.write(f"{CLIENTS:,} clients reconnected within the limit: {storm.name}\n")


def _arguments() -> Namespace:
    parser = ArgumentParser(
        prog="python -m realtime_bridge.testing.simulation",
        description="Simulate deployments with faults, and check the invariants.",
    )
    parser.add_argument("--seeds", type=int, default=1_000, help="number of seeds (1000)")
    parser.add_argument(
        "--minutes", type=float, default=0, help="run more seeds, for at least this long"
    )
    parser.add_argument("--from", type=int, default=0, dest="first", help="first seed (0)")
    parser.add_argument(
        "--processes", type=int, default=0, help="number of processes (one for each processor)"
    )
    parser.add_argument(
        "--skip", action="append", default=[], metavar="I17", help="do not check this invariant"
    )
    parser.add_argument(
        "--without", action="append", default=[], metavar="FAULT", help="do not draw this fault"
    )
    parser.add_argument(
        "--storms", action="store_true", help="simulate 10 000 reconnecting clients instead"
    )
    parser.add_argument("--trace", type=int, metavar="SEED", help="print the events of this seed")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
