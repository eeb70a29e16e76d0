"""Times of polls, for any server and any events."""

from hypothesis import given
from hypothesis import strategies as st

from realtime_bridge.protocol.client.poll_schedule import PollSchedule
from realtime_bridge.protocol.client.timing import Timing

TIMING = Timing()
draws = st.floats(0, 1, exclude_max=True)


@given(st.integers(-10, 10**9), draws)
def test_any_requested_wait_leads_to_another_poll_later(requested: int, draw: float) -> None:
    schedule = PollSchedule(5_000, TIMING)
    schedule.answered(requested)
    shortest, longest = TIMING.requested_interval_min, TIMING.requested_interval_max
    assert 0.8 * shortest <= schedule.next(0, draw) <= 1.2 * longest
    schedule.failed(0, draw, retry_after=requested)
    assert schedule.next(0, draw) <= 1.2 * longest


@given(st.integers(0, 600_000), draws, draws)
def test_no_poll_comes_before_retry_after(requested: int, draw: float, again: float) -> None:
    schedule = PollSchedule(5_000, TIMING)
    schedule.failed(1_000, draw, status=503, retry_after=requested)
    assert schedule.next(1_000, again) >= 1_000 + requested
    assert schedule.soon(1_000, again, 1_000) >= 1_000 + requested
