"""The clients of a server that stops leave one by one, evenly, within the grace it has."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_bridge.protocol.session.drain_schedule import RESERVE_SECONDS, slots, window


@pytest.mark.parametrize(
    ("clients", "grace", "seconds"),
    [(1, 30, 2), (1_000, 30, 2), (5_000, 30, 10), (50_000, 60, 30), (50_000, 30, 25), (9, 4, 0)],
)
def test_window_grows_with_clients_and_ends_before_the_grace(
    clients: int, grace: float, seconds: float
) -> None:
    assert window(clients, grace=grace) == seconds


def test_slots_are_spread_evenly_and_close_after_the_move() -> None:
    schedule = [(slot.after, slot.closes) for slot in slots(4, grace=30)]
    assert schedule == [(0.0, 1.5), (0.5, 2.0), (1.0, 2.5), (1.5, 3.0)]


def test_schedule_without_clients_is_empty() -> None:
    assert list(slots(0, grace=30)) == []


@given(st.integers(100, 20_000), st.floats(8, 60))
def test_no_second_has_over_twice_the_mean(clients: int, grace: float) -> None:
    seconds = window(clients, grace=grace)
    busiest = max(Counter(int(slot.after) for slot in slots(clients, grace=grace)).values())
    assert busiest <= 2 * clients / seconds + 1


@given(st.integers(1, 5_000), st.floats(RESERVE_SECONDS, 60))
def test_each_has_time_to_move_and_all_are_gone_within_the_grace(
    clients: int, grace: float
) -> None:
    for slot in slots(clients, grace=grace):
        assert slot.after + 1 < slot.closes <= max(grace, RESERVE_SECONDS)
