"""Looking for a seed that breaks a promise, and for the smallest story of how."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from realtime_bridge.testing.simulation.faults import Fault
from realtime_bridge.testing.simulation.invariant_checker import InvariantViolation
from realtime_bridge.testing.simulation.options import Options
from realtime_bridge.testing.simulation.simulation import Simulation

LAST_LINES = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A seed that breaks a promise, with as few faults, clients and jobs as still do."""

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
                "the story's end:",
                *(f"  {line}" for line in self.story()[-LAST_LINES:]),
            )
        )

    def story(self) -> list[str]:
        """Return what happened, line by line."""
        lines: list[str] = []
        _failure(self.seed, self.faults, self.options, lines.append)
        return lines


class SimulationFailedError(AssertionError):
    """A simulation failed; the message holds the seed and its smallest story."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


def simulate(seed: int, *, options: Options | None = None) -> None:
    """Run one seed.

    Raises:
        SimulationFailedError: a promise was broken, or a handler raised something.

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
    done: Callable[[int], None] = lambda _: None,
) -> None:
    """Run many seeds; `done` is told each that was good.

    Raises:
        SimulationFailedError: a promise was broken, or a handler raised something.

    """
    for seed in seeds:
        simulate(seed, options=options)
        done(seed)


def shrink(simulation: Simulation, error: Exception) -> Failure:
    """Return the smallest failure of the same kind: without the faults that it does not need."""
    sizes = replace(simulation.options, clients=len(simulation.clients), jobs=simulation.jobs)
    failure = Failure(
        seed=simulation.seed, faults=tuple(simulation.faults), options=sizes, error=error
    )
    while True:
        smaller = next(filter(None, map(_tried(failure), _smaller(failure))), None)
        if smaller is None:
            return failure
        failure = smaller


def _smaller(failure: Failure) -> Iterable[Failure]:
    """Yield what is a little less."""
    for fault in failure.faults:
        fewer = tuple(other for other in failure.faults if other is not fault)
        yield replace(failure, faults=fewer)
        if fault.client:
            yield replace(failure, faults=(*fewer, replace(fault, client=0)))
    for name in ("clients", "jobs"):
        number = getattr(failure.options, name)
        if number > 1:
            yield replace(failure, options=replace(failure.options, **{name: number - 1}))


def _tried(failure: Failure) -> Callable[[Failure], Failure | None]:
    """Return what tells whether a smaller story fails in the same way, and how."""

    def tried(smaller: Failure) -> Failure | None:
        error = _failure(smaller.seed, smaller.faults, smaller.options, None)
        same = error is not None and _kind(error) == _kind(failure.error)
        return replace(smaller, error=error) if error and same else None

    return tried


def _kind(error: Exception) -> str:
    return error.invariant if isinstance(error, InvariantViolation) else type(error).__name__


def _failure(
    seed: int, faults: tuple[Fault, ...], options: Options, tell: Callable[[str], None] | None
) -> Exception | None:
    try:
        Simulation(seed, faults=faults, options=options, tell=tell).run()
    except Exception as error:
        return error
    return None
