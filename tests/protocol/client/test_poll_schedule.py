"""When a client polls, whatever server and events there are."""

from hypothesis import given
from hypothesis import strategies as st

from realtime_bridge.protocol.client.poll_schedule import LONGEST_MS, SHORTEST_MS, PollSchedule

draws = st.floats(0, 1, exclude_max=True)


@given(st.integers(-10, 10**9), draws)
def test_whatever_a_server_asks_for_there_is_another_poll_but_not_at_once(
    asked: int, draw: float
) -> None:
    cadence = PollSchedule(5_000)
    cadence.answered(asked)
    assert 0.8 * SHORTEST_MS <= cadence.next(0, draw) <= 1.2 * LONGEST_MS
    cadence.failed(0, draw, retry_after=asked)
    assert cadence.next(0, draw) <= 1.2 * LONGEST_MS


@given(st.integers(0, 600_000), draws, draws)
def test_nothing_is_polled_before_retry_after(asked: int, draw: float, again: float) -> None:
    cadence = PollSchedule(5_000)
    cadence.failed(1_000, draw, status=503, retry_after=asked)
    assert cadence.next(1_000, again) >= 1_000 + asked
    assert cadence.soon(1_000, again, 1_000) >= 1_000 + asked
