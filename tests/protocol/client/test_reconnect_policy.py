"""Record of earlier connections, beyond what the vectors show."""

from realtime_bridge.protocol.client.reconnect_policy import ReconnectPolicy
from realtime_bridge.protocol.client.timing import Timing

TIMING = Timing()
BAN, WINDOW = TIMING.ban_min, TIMING.short_uptime_window


def new_policy() -> ReconnectPolicy:
    return ReconnectPolicy(reconnect_interval=3_000, max_attempts=5, timing=TIMING)


def drop_early(policy: ReconnectPolicy, *times: int) -> None:
    for now in times:
        policy.record_drop(now - 1_000, now, confirmed=True)


def banned_until(policy: ReconnectPolicy) -> int:
    return policy.soon(0, 0, 0)


def test_short_uptimes_that_are_few_or_far_apart_give_no_ban() -> None:
    policy = new_policy()
    drop_early(policy, 10_000, 20_000, 10_000 + WINDOW)
    assert banned_until(policy) == 0


def test_each_ban_is_twice_as_long_up_to_a_limit() -> None:
    policy, now, bans = new_policy(), 0, []
    for _ in range(5):
        drop_early(policy, now + 1_000, now + 2_000, now + 3_000)
        bans.append(banned_until(policy) - now - 3_000)
        now = banned_until(policy)
    assert bans == [BAN, 2 * BAN, 4 * BAN, 8 * BAN, TIMING.ban_max]


def test_long_uptime_makes_the_next_ban_short_again() -> None:
    policy = new_policy()
    drop_early(policy, 1_000, 2_000, 3_000)
    assert policy.record_uptime(70_000, 80_000, confirmed=False)
    drop_early(policy, 201_000, 202_000, 203_000)
    assert banned_until(policy) == 203_000 + BAN


def test_reset_keeps_a_ban() -> None:
    policy = new_policy()
    drop_early(policy, 1_000, 2_000, 3_000)
    policy.reset()
    assert policy.failures == 0
    assert policy.next(4_000, 0.5) == 3_000 + BAN
