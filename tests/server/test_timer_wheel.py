"""Tests of the timer that all connections share."""

import asyncio
import time
from collections.abc import Callable

import pytest

from realtime_bridge.server.timer_wheel import SLOT_SECONDS, Slot, TimerWheel


class Sleeping:
    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.slot: Slot | None = None
        self.woken: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.then = then

    def wake(self) -> None:
        self.woken.set_result(time.monotonic())
        self.then()


async def test_each_target_is_woken_once_and_not_too_early() -> None:
    wheel, begun = TimerWheel(), time.monotonic()
    moments = [begun + 0.3, begun + 0.01, begun + 0.3, begun + 0.15]
    sleepers = [Sleeping() for _ in moments]
    for sleeper, moment in zip(sleepers, moments, strict=True):
        wheel.wake_at(moment, sleeper)
    for sleeper, moment in zip(sleepers, moments, strict=True):
        assert await sleeper.woken >= moment


async def test_rescheduled_target_is_woken_at_the_new_moment_alone() -> None:
    wheel, begun = TimerWheel(), time.monotonic()
    sleeper, last = Sleeping(), Sleeping()
    wheel.wake_at(begun + 0.05, sleeper)
    wheel.wake_at(begun + 0.2, sleeper)
    wheel.wake_at(begun + 0.2 + 2 * SLOT_SECONDS, last)
    assert await sleeper.woken >= begun + 0.2
    await last.woken


async def test_cancelled_target_is_not_woken() -> None:
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


async def test_target_can_cancel_another_of_its_slot() -> None:
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


async def test_target_that_fails_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise KeyError("a mistake")

    wheel, soon = TimerWheel(), time.monotonic() + 0.05
    sleepers = [Sleeping(), Sleeping(fail), Sleeping()]
    for sleeper in sleepers:
        wheel.wake_at(soon, sleeper)
    later = Sleeping()
    wheel.wake_at(soon + 2 * SLOT_SECONDS, later)
    for sleeper in (*sleepers, later):
        await sleeper.woken
    assert caplog.text.count("timer target failed target=Sleeping") == 1
