"""Integrations without the packages that they need."""

import sys
from importlib import import_module

import pytest

from realtime_bridge import ExtraNotInstalledError

PACKAGES = {
    "celery": ["celery"],
    "dramatiq": ["dramatiq"],
    "huey": ["huey"],
    "rq": ["rq"],
    "apscheduler": ["apscheduler"],
    "arq": ["arq"],
    "django_tasks": ["django.tasks", "django_tasks"],
    "procrastinate": ["procrastinate"],
    "taskiq": ["taskiq"],
}
"""Packages by the integrations that need them; their extras have the names of the integrations."""


@pytest.mark.parametrize("queue", PACKAGES)
def test_missing_package_is_an_error_that_names_the_extra(
    queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, extra = f"realtime_bridge.integrations.{queue}", queue.replace("_", "-")
    monkeypatch.delitem(sys.modules, name, raising=False)
    for package in PACKAGES[queue]:
        for module in [key for key in sys.modules if key.startswith(f"{package}.")]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ExtraNotInstalledError, match=rf"realtime-bridge\[{extra}\]"):
        import_module(name)
