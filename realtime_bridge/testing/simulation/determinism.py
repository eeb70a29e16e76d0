"""Replacement of clocks and random numbers, for the duration of one run."""

import gc
import os
import random
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, tzinfo
from random import Random
from typing import Any, Self

import jwt.api_jwt

from realtime_bridge.backend.plugins import load_backend
from realtime_bridge.publishing.local_servers import without_local_servers
from realtime_bridge.testing.simulation.process import current_process
from realtime_bridge.testing.simulation.virtual_loop import START, VirtualLoop

EPOCH = 1_800_000_000.0
"""Unix time at the begin of every run."""


@contextmanager
def deterministic(loop: VirtualLoop, seed: object) -> Iterator[None]:
    """Take the time from a loop, and random numbers and bytes from a seed."""
    drawn = Random(f"{seed} bytes")  # noqa: S311 -- repeatable draws, no secrets
    state, hook = random.getstate(), sys.unraisablehook
    was_collecting = gc.isenabled()
    # Its default clock is taken when it is imported: not from a run, which ends.
    load_backend("memory")
    # A collection in the middle would run finalizers at a moment that depends on memory. The one at
    # the end looks at the objects of this run alone: the modules' objects are many.
    gc.disable()
    gc.freeze()
    random.seed(f"{seed} numbers")
    sys.unraisablehook = _ignore
    try:
        clocks = _clocks(loop)
        with (
            warnings.catch_warnings(action="ignore"),
            _replaced(signal, getsignal=_no_handler),
            _replaced(os, urandom=drawn.randbytes),
            _replaced(time, **clocks),
            # PyJWT's clock, which Python itself does not take from `time`.
            _replaced(jwt.api_jwt, datetime=_datetime(clocks["time"])),
        ):
            # A killed node gives back neither its signals nor its place among the local servers:
            # it would stay there, with all of its run.
            with without_local_servers():
                yield
            gc.collect()
    finally:
        random.setstate(state)
        sys.unraisablehook = hook
        gc.unfreeze()
        if was_collecting:
            gc.enable()


def _clocks(loop: VirtualLoop) -> dict[str, Callable[[], float]]:
    def wall() -> float:
        process = current_process.get()
        return EPOCH + loop.now - START + (process.clock_offset if process else 0.0)

    return {
        "time": wall,
        "time_ns": lambda: round(wall() * 1e9),
        "monotonic": lambda: loop.now,
        "monotonic_ns": lambda: int(loop.now * 1e9),
        "perf_counter": lambda: loop.now,
    }


def _datetime(clock: Callable[[], float]) -> type[datetime]:
    class VirtualDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromtimestamp(clock(), tz)

    return VirtualDatetime


@contextmanager
def _replaced(module: Any, **functions: Callable[..., Any]) -> Iterator[None]:
    """Replace functions of a module of the standard library."""
    originals = {name: getattr(module, name) for name in functions}
    for name, function in functions.items():
        setattr(module, name, function)
    try:
        yield
    finally:
        for name, function in originals.items():
            setattr(module, name, function)


def _no_handler(_: int) -> None:
    """Answer that no handler of Python has a signal, so that no node takes its place."""


def _ignore(_: object) -> None:
    """Ignore what a coroutine raises that is dropped at the end of a run."""
