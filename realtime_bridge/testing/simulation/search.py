"""Search for seeds that violate an invariant, and reduction of their failures."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from realtime_bridge.testing.simulation.faults import Fault
from realtime_bridge.testing.simulation.invariant_checker import InvariantViolation
from realtime_bridge.testing.simulation.options import Options
from realtime_bridge.testing.simulation.simulation import Simulation

LAST_LINES = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Seed that fails, reduced to the fewest faults, clients and jobs that still fail."""

    seed: int
    faults: tuple[Fault, ...]
    options: Options
    error: Exception

    def __str__(self) -> str:
        return "\n".join(
            (
                f"seed {self.seed}: {self.error}",
                f"clients: {self.options.clients}, jobs: {self.options.jobs}, faults:",
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
    seeds: Iterable[int],
    *,
    options: Options | None = None,
    on_passed: Callable[[int], None] = lambda _: None,
) -> None:
    """Run many seeds; call `on_passed` with each seed that passed.

    Raises:
        SimulationFailedError: an invariant does not hold, or a handler raised an error.

    """
    for seed in seeds:
        simulate(seed, options=options)
        on_passed(seed)


def shrink(simulation: Simulation, error: Exception) -> Failure:
    """Reduce a failure: remove the faults, clients and jobs that it does not need."""
    sizes = replace(simulation.options, clients=len(simulation.clients), jobs=simulation.jobs)
    failure = Failure(
        seed=simulation.seed, faults=tuple(simulation.faults), options=sizes, error=error
    )
    while True:
        reduced = next(filter(None, map(_reproduction(failure), _reductions(failure))), None)
        if reduced is None:
            return failure
        failure = reduced


def _reductions(failure: Failure) -> Iterable[Failure]:
    """Yield failures with one fault, client or job less."""
    for fault in failure.faults:
        fewer = tuple(other for other in failure.faults if other is not fault)
        yield replace(failure, faults=fewer)
        if fault.client:
            yield replace(failure, faults=(*fewer, replace(fault, client=0)))
    for name in ("clients", "jobs"):
        number = getattr(failure.options, name)
        if number > 1:
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
    seed: int, faults: tuple[Fault, ...], options: Options, trace: Callable[[str], None] | None
) -> Exception | None:
    try:
        Simulation(seed, faults=faults, options=options, trace=trace).run()
    except Exception as error:
        return error
    return None
