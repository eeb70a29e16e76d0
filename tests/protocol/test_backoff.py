"""Delays: growth, jitter, and bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_bridge.protocol.backoff import CAP, FLOOR, delay


@pytest.mark.parametrize(
    ("attempt", "draw", "seconds"),
    [(0, 0.0, 0.25), (0, 0.5, 1.5), (1, 0.5, 3.0), (2, 0.5, 6.0), (3, 0.5, 10.0), (9, 0.5, 10.0)],
)
def test_bound_doubles_up_to_the_cap(attempt: int, draw: float, seconds: float) -> None:
    assert delay(attempt, draw) == seconds


def test_jitter_is_whole_at_the_cap() -> None:
    waits = {delay(20, tenth / 10) for tenth in range(1, 10)}
    assert len(waits) == 9


@given(
    st.integers(0, 10_000),
    st.floats(0, 1, exclude_max=True),
    st.floats(0.001, 60),
    st.floats(1, 60),
)
def test_delay_is_between_the_floor_and_the_cap(
    attempt: int, draw: float, base: float, cap: float
) -> None:
    assert FLOOR <= delay(attempt, draw, base=base, cap=cap) <= max(cap, FLOOR)


@given(st.integers(0, 200), st.floats(0, 1, exclude_max=True))
def test_further_failure_never_shortens_the_delay(attempt: int, draw: float) -> None:
    assert delay(attempt, draw) <= delay(attempt + 1, draw) <= CAP
