"""Search for seeds that violate an invariant, and reduction of their failures."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from realtime_bridge.testing.simulation.faults import CLIENT_FAULTS, Fault
from realtime_bridge.testing.simulation.options import Options
from realtime_bridge.testing.simulation.simulation import Simulation
from realtime_bridge.testing.simulation.violations import InvariantViolation

LAST_LINES = 80

LEAST = {"clients": 1, "nodes": 1, "jobs": 1, "streams": 0, "tasks": 0, "members": 0}
"""The fewest of each part to which a failure is reduced."""

CHUNK = 20
"""Seeds that one process runs at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Seed that fails, reduced to the fewest faults, clients, servers and jobs that still fail."""

    seed: int
    faults: tuple[Fault, ...]
    options: Options
    error: Exception

    def __str__(self) -> str:
        shape = self.options
        work = f"jobs: {shape.jobs}, streams: {shape.streams}, tasks: {shape.tasks}"
        work += f", members: {shape.members}" if shape.members else ""
        return "\n".join(
            (
                f"seed {self.seed}: {self.error}",
                f"clients: {shape.clients}, nodes: {shape.nodes}, {work}, faults:",
                *(f"  {fault}" for fault in self.faults),
                "end of the trace:",
                *(f"  {line}" for line in self.trace()[-LAST_LINES:]),
            )
        )

    def trace(self) -> list[str]:
        """Return the lines of the trace."""
        lines: list[str] = []
        _run(self.seed, self.faults, self.options, lines.append)
        return lines


class SimulationFailedError(AssertionError):
    """Failed simulation; the message contains the seed and the end of its trace."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


def simulate(seed: int, *, options: Options | None = None) -> None:
    """Run one seed.

    Raises:
        SimulationFailedError: an invariant does not hold, or a handler raised an error.

    """
    simulation = Simulation(seed, options=options)
    try:
        simulation.run()
    except Exception as error:
        raise SimulationFailedError(shrink(simulation, error)) from error


def search(
    seeds: Sequence[int],
    *,
    options: Options | None = None,
    processes: int = 1,
    on_passed: Callable[[int], None] = lambda _: None,
) -> None:
    """Run many seeds; call `on_passed` with the number of seeds that passed.

    Args:
        seeds: the seeds.
        options: the size and shape of each deployment.
        processes: the number of processes that run them; 0 is one for each processor.
        on_passed: called after each seed, or after each group of seeds.

    Raises:
        SimulationFailedError: an invariant does not hold, or a handler raised an error.

    """
    # The process that found a failure reports its seed alone: errors and traces are large.
    for count, failed in _results(seeds, options, processes or os.cpu_count() or 1):
        if failed is not None:
            simulate(failed, options=options)
        on_passed(count)


def shrink(simulation: Simulation, error: Exception) -> Failure:
    """Reduce a failure: remove the faults, clients, servers and jobs that it does not need."""
    shape = simulation.shape
    sizes = replace(
        simulation.options,
        clients=shape.clients,
        jobs=shape.jobs,
        streams=shape.streams,
        tasks=shape.tasks,
        members=simulation.members,
        nodes=shape.nodes,
    )
    failure = Failure(
        seed=simulation.seed, faults=tuple(simulation.faults), options=sizes, error=error
    )
    while True:
        reduced = next(filter(None, map(_reproduction(failure), _reductions(failure))), None)
        if reduced is None:
            return failure
        failure = reduced


def _results(
    seeds: Sequence[int], options: Options | None, processes: int
) -> Iterator[tuple[int, int | None]]:
    """Yield the number of seeds that passed, and the seed that failed, if one did."""
    if processes == 1:
        for seed in seeds:
            yield 1, _first_failure([seed], options)
        return
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    pool = ProcessPoolExecutor(processes)
    try:
        run = partial(_first_failure, options=options)
        for chunk, failed in zip(chunks, pool.map(run, chunks), strict=True):
            yield len(chunk), failed
    finally:
        # It waits: at exit Python wakes the pool's thread by a pipe that the thread may be closing.
        pool.shutdown(cancel_futures=True)


def _first_failure(seeds: Sequence[int], options: Options | None) -> int | None:
    for seed in seeds:
        if _run(seed, None, options, None):
            return seed
    return None


def _reductions(failure: Failure) -> Iterable[Failure]:
    """Yield failures with one fault, client, server or job less."""
    for fault in failure.faults:
        fewer = tuple(other for other in failure.faults if other is not fault)
        yield replace(failure, faults=fewer)
        if fault.target and fault.kind in CLIENT_FAULTS:
            yield replace(failure, faults=(*fewer, replace(fault, target=0)))
    for name, least in LEAST.items():
        number = getattr(failure.options, name)
        if number > least:
            yield replace(failure, options=replace(failure.options, **{name: number - 1}))


def _reproduction(failure: Failure) -> Callable[[Failure], Failure | None]:
    """Return a function that runs a reduction; its result fails with the same kind of error."""

    def reproduce(reduction: Failure) -> Failure | None:
        error = _run(reduction.seed, reduction.faults, reduction.options, None)
        same = error is not None and _kind(error) == _kind(failure.error)
        return replace(reduction, error=error) if error and same else None

    return reproduce


def _kind(error: Exception) -> str:
    return error.invariant if isinstance(error, InvariantViolation) else type(error).__name__


def _run(
    seed: int,
    faults: tuple[Fault, ...] | None,
    options: Options | None,
    trace: Callable[[str], None] | None,
) -> Exception | None:
    try:
        Simulation(seed, faults=faults, options=options, trace=trace).run()
    except Exception as error:
        return error
    return None
