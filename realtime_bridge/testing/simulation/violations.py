"""Violated invariants of a run."""

from collections.abc import Collection

from realtime_bridge.testing.simulation.virtual_loop import START, VirtualLoop


class InvariantViolation(AssertionError):  # noqa: N818 -- it reports a violated invariant
    """Violation of one invariant.

    Args:
        invariant: its number in docs/specification.md §8, such as `I3`.
        at: the time in milliseconds.
        message: the subject, and the observation that violates the invariant.

    """

    def __init__(self, invariant: str, at: int, message: str) -> None:
        super().__init__(f"{invariant} at {at / 1_000:.3f} s: {message}")
        self.invariant = invariant


class Violations:
    """Reports of one run: the first one ends it.

    Args:
        loop: the event loop.
        skipped: the numbers of invariants that are not checked.

    """

    def __init__(self, loop: VirtualLoop, skipped: Collection[str]) -> None:
        self._loop = loop
        self._skipped = skipped

    @property
    def now_ms(self) -> int:
        """Time since the begin, in milliseconds."""
        return round((self._loop.now - START) * 1_000)

    def report(self, invariant: str, message: str) -> None:
        """Raise a violation, unless its invariant is skipped."""
        if invariant in self._skipped or self._loop.is_stopping:
            return
        error = InvariantViolation(invariant, self.now_ms, message)
        # The caller may be code of the library, which handles exceptions.
        self._loop.failure = self._loop.failure or error
        raise error
