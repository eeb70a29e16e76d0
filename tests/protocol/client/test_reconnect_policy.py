"""What is remembered of earlier connections, beyond what the vectors show."""

from realtime_bridge.protocol.client.reconnect_policy import (
    BAN_MS,
    MAX_BAN_MS,
    SHORT_LIVES_MS,
    ReconnectPolicy,
)


def attempts() -> ReconnectPolicy:
    return ReconnectPolicy(reconnect_interval=3_000, max_attempts=5)


def die_young(tried: ReconnectPolicy, *at: int) -> None:
    for now in at:
        tried.record_drop(now - 1_000, now, heard=True)


def banned_until(tried: ReconnectPolicy) -> int:
    return tried.soon(0, 0, 0)


def test_two_short_lives_are_no_pattern_nor_are_three_in_a_long_time() -> None:
    tried = attempts()
    die_young(tried, 10_000, 20_000, 10_000 + SHORT_LIVES_MS)
    assert banned_until(tried) == 0


def test_each_ban_is_twice_as_long_as_the_last_up_to_a_limit() -> None:
    tried, now, bans = attempts(), 0, []
    for _ in range(5):
        die_young(tried, now + 1_000, now + 2_000, now + 3_000)
        bans.append(banned_until(tried) - now - 3_000)
        now = banned_until(tried)
    assert bans == [BAN_MS, 2 * BAN_MS, 4 * BAN_MS, 8 * BAN_MS, MAX_BAN_MS]


def test_a_long_life_makes_the_next_ban_short_again() -> None:
    tried = attempts()
    die_young(tried, 1_000, 2_000, 3_000)
    assert tried.record_uptime(70_000, 80_000, heard=False)
    die_young(tried, 201_000, 202_000, 203_000)
    assert banned_until(tried) == 203_000 + BAN_MS


def test_a_ban_outlasts_what_is_forgotten() -> None:
    tried = attempts()
    die_young(tried, 1_000, 2_000, 3_000)
    tried.reset()
    assert tried.failures == 0
    assert tried.next(4_000, 0.5) == 3_000 + BAN_MS
