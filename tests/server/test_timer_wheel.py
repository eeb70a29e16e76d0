"""One timer wakes everybody at about the moment they asked for, and nobody else."""

import asyncio
import time
from collections.abc import Callable

from realtime_bridge.server.timer_wheel import SLOT_SECONDS, TimerTarget, TimerWheel


class Sleeping(TimerTarget):
    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.slot = None
        self.woken: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.then = then

    def wake(self) -> None:
        self.woken.set_result(time.monotonic())
        self.then()


async def test_each_is_woken_once_and_not_too_early() -> None:
    wheel, begun = TimerWheel(), time.monotonic()
    moments = [begun + 0.3, begun + 0.01, begun + 0.3, begun + 0.15]
    sleepers = [Sleeping() for _ in moments]
    for sleeper, moment in zip(sleepers, moments, strict=True):
        wheel.wake_at(moment, sleeper)
    for sleeper, moment in zip(sleepers, moments, strict=True):
        assert await sleeper.woken >= moment


async def test_who_asks_anew_is_woken_at_the_new_moment_alone() -> None:
    wheel, begun = TimerWheel(), time.monotonic()
    sleeper, last = Sleeping(), Sleeping()
    wheel.wake_at(begun + 0.05, sleeper)
    wheel.wake_at(begun + 0.2, sleeper)
    wheel.wake_at(begun + 0.2 + 2 * SLOT_SECONDS, last)
    assert await sleeper.woken >= begun + 0.2
    await last.woken


async def test_who_wants_to_sleep_for_ever_is_not_woken() -> None:
    wheel, soon = TimerWheel(), time.monotonic() + 0.05
    forgotten, never, last = Sleeping(), Sleeping(), Sleeping()
    for sleeper in (forgotten, never):
        wheel.wake_at(soon, sleeper)
    wheel.cancel(forgotten)
    wheel.wake_at(float("inf"), never)
    wheel.wake_at(soon + 2 * SLOT_SECONDS, last)
    await last.woken
    assert not forgotten.woken.done()
    assert not never.woken.done()


async def test_one_that_wakes_may_send_another_of_its_slot_to_sleep_for_ever() -> None:
    wheel, soon = TimerWheel(), time.monotonic() + 0.05
    pair: list[Sleeping] = []

    def forget_the_other() -> None:
        for sleeper in pair:
            wheel.cancel(sleeper)

    pair += [Sleeping(forget_the_other), Sleeping(forget_the_other)]
    last = Sleeping()
    for sleeper in pair:
        wheel.wake_at(soon, sleeper)
    wheel.wake_at(soon + 2 * SLOT_SECONDS, last)
    await last.woken
    assert [sleeper.woken.done() for sleeper in pair].count(True) == 1
