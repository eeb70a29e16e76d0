"""Hooks that take the task of a cancelled job out of its queue."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from realtime_bridge.integrations.cancel_hooks import CancelHook
from realtime_bridge.integrations.celery import revoke_on_cancel as revoke_in_celery
from realtime_bridge.integrations.huey import revoke_on_cancel as revoke_in_huey
from realtime_bridge.server import Bridge
from realtime_bridge.settings import Settings
from tests.cli.processes import SECRET
from tests.integrations.jobs import TIMEOUT


class Hooks:
    """Bridge of which the test calls the hook."""

    hook: CancelHook

    def on_cancel(self, hook: CancelHook) -> None:
        self.hook = hook


class Control:
    """Remote control of Celery, and client of Huey."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bool]] = []
        self.is_killed = threading.Event()
        self.control = self

    def revoke(self, task: str, *, terminate: bool = False) -> None:
        self.calls.append((task, terminate))
        if terminate:
            self.is_killed.set()
            raise ConnectionError("no broker")

    revoke_by_id = revoke


@pytest.mark.parametrize(
    ("register", "calls"),
    [
        (revoke_in_huey, [("7", False)]),
        (revoke_in_celery, [("7", False)]),
        (
            lambda hooks, app: revoke_in_celery(hooks, app, kill_after=0),
            [("7", False), ("7", True)],
        ),
    ],
)
async def test_cancelled_task_is_revoked(
    register: Callable[..., None], calls: list[tuple[str, bool]]
) -> None:
    hooks, app = Hooks(), Control()
    register(hooks, app)
    await hooks.hook("user-42", "7", "ann")
    if len(calls) > 1:
        assert await asyncio.to_thread(app.is_killed.wait, TIMEOUT)
    assert app.calls == calls


def test_bridge_takes_the_hooks() -> None:
    bridge = Bridge(Settings(backend="memory", secret=SECRET))
    revoke_in_huey(bridge, Control())
