"""Loading of backends by their names, and the pipeline that the configuration describes."""

import os
from collections.abc import Sequence
from typing import ClassVar, Self

import pytest

from realtime_bridge import (
    BackendNotFoundError,
    BackendNotInstalledError,
    Broadcaster,
    ConfigurationError,
    Event,
)
from realtime_bridge.backend import plugins
from realtime_bridge.backend.log import Log
from realtime_bridge.backend.plugin import Plugin
from realtime_bridge.backend.push import Backend, PushLimits
from realtime_bridge.publishing import pipeline
from realtime_bridge.settings import Settings
from realtime_bridge_backends.memory import MemoryBackend
from realtime_bridge_backends.null import NullBackend
from realtime_bridge_backends.websocket import WebSocketBackend
from tests.conftest import DeclareBackends

not_a_plugin = object()


class PostBackend(Backend, Plugin):
    """Push backend whose automatic log is the memory of the server."""

    limits = PushLimits(event_bytes=1, events=1, channels=1)
    default_logs: ClassVar[tuple[str, ...]] = ("memory",)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        return cls()

    async def push(self, events: Sequence[Event]) -> None:
        raise AssertionError


class ChoosyBackend(PostBackend):
    """Push backend with several automatic logs."""

    default_logs = ("needy", "unknown", "first", "second")


class FirstLog(MemoryBackend):
    """Log that a variable configures."""

    @classmethod
    def is_configured(cls) -> bool:
        return cls.__name__ in os.environ


class SecondLog(FirstLog):
    """Another one."""


@pytest.fixture(autouse=True)
def installed(declare_backends: DeclareBackends) -> None:
    declare_backends(
        {
            "post": f"{__name__}:PostBackend",
            "choosy": f"{__name__}:ChoosyBackend",
            "first": f"{__name__}:FirstLog",
            "second": f"{__name__}:SecondLog",
            "broken": f"{__name__}:not_a_plugin",
            "needy": "realtime_bridge_no_such_module:Backend",
        }
    )


def settings(backend: str, log: str = "auto") -> Settings:
    return Settings(backend=backend, log=log)


def test_built_in_backend_is_found_by_its_name() -> None:
    assert plugins.load_backend("memory") is MemoryBackend
    assert plugins.load_backend("null") is NullBackend


@pytest.mark.parametrize("name", plugins.BUILT_IN)
def test_every_built_in_backend_loads(name: str) -> None:
    assert plugins.load_backend(name).__name__.lower() == f"{name}backend"


def test_declared_backend_is_found_by_its_entry_point() -> None:
    assert plugins.load_backend("post").__name__ == "PostBackend"


def test_installed_backends_are_listed_once_and_sorted() -> None:
    names = {*plugins.BUILT_IN, "post", "choosy", "first", "second", "broken", "needy"}
    assert plugins.installed_backends() == sorted(names)


def test_error_of_an_unknown_backend_names_the_nearest() -> None:
    with pytest.raises(BackendNotFoundError, match=r"'memry'\. Did you mean 'memory'\? Installed"):
        Broadcaster.from_settings(settings("memry"))


def test_error_of_an_unknown_log_names_the_nearest() -> None:
    with pytest.raises(BackendNotFoundError, match=r"'memori'\. Did you mean 'memory'\?"):
        Broadcaster.from_settings(settings("post", log="memori"))


def test_error_of_a_missing_package_names_the_extra() -> None:
    with pytest.raises(BackendNotInstalledError) as caught:
        plugins.load_backend("needy")
    assert caught.value.missing == "realtime_bridge_no_such_module"
    assert "pip install 'realtime-bridge[needy]'" in str(caught.value)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_entry_point_of_another_class_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match=rf"'broken' \({__name__}:not_a_plugin\) is not"):
        plugins.load_backend("broken")


@pytest.mark.parametrize(
    ("backend", "log", "log_class", "backend_class"),
    [
        ("memory", "auto", MemoryBackend, None),
        ("memory", "memory", MemoryBackend, None),
        ("null", "auto", None, NullBackend),
        ("null", "none", None, NullBackend),
        ("post", "none", None, PostBackend),
        ("post", "auto", WebSocketBackend, None),
        ("post", "memory", WebSocketBackend, None),
        ("null", "memory", WebSocketBackend, None),
        ("websocket", "auto", WebSocketBackend, None),
        ("websocket", "memory", WebSocketBackend, None),
    ],
)
def test_pipeline_of_a_worker_has_log_and_backend(
    backend: str, log: str, log_class: type[Log] | None, backend_class: type[Backend] | None
) -> None:
    parts = pipeline.worker_pipeline(settings(backend, log))
    assert type(parts.log).__name__ == (log_class or type(None)).__name__
    assert type(parts.backend).__name__ == (backend_class or type(None)).__name__


def test_pipeline_of_the_server_pushes() -> None:
    assert type(pipeline.server_pipeline(settings("post")).backend).__name__ == "PostBackend"


@pytest.mark.parametrize(
    ("configured", "log"),
    [([], None), (["SecondLog"], "SecondLog"), (["FirstLog", "SecondLog"], "FirstLog")],
)
def test_first_configured_automatic_log_wins(
    monkeypatch: pytest.MonkeyPatch, configured: list[str], log: str | None
) -> None:
    for name in configured:
        monkeypatch.setenv(name, "on")
    found = pipeline.log_class(settings("choosy"))
    assert (found and found.__name__) == log


@pytest.mark.parametrize("backend", ["memory", "post", "websocket"])
def test_pipeline_of_the_server_has_the_log_itself(backend: str) -> None:
    assert type(pipeline.server_pipeline(settings(backend)).log) is MemoryBackend


def test_backend_that_stores_nothing_is_no_log() -> None:
    with pytest.raises(ConfigurationError, match=r"^REALTIME_LOG='null': NullBackend is not a log"):
        Broadcaster.from_settings(settings("memory", log="null"))


@pytest.mark.parametrize("backend", ["memory", "websocket"])
def test_backend_that_delivers_from_a_log_needs_one(backend: str) -> None:
    with pytest.raises(ConfigurationError, match=r"REALTIME_LOG may not be none"):
        Broadcaster.from_settings(settings(backend, log="none"))
