"""A backend comes by its name through its entry point, ours or anyone's."""

from collections.abc import Sequence
from importlib.metadata import EntryPoint, EntryPoints
from typing import Self

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

not_a_plugin = object()


class PostBackend(Backend, Plugin):
    """A backend whose automatic log is the memory of the server."""

    limits = PushLimits(event_bytes=1, events=1, channels=1)
    default_logs = ("memory",)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        return cls()

    async def push(self, events: Sequence[Event]) -> None:
        raise AssertionError


class RemoteLog(MemoryBackend):
    """Stands for the websocket backend of a worker."""

    default_logs = ("memory",)
    remote_access_via = None  # type: ignore[assignment]


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that just these are installed."""
    found = EntryPoints(
        EntryPoint(name, value, plugins.GROUP)
        for name, value in {
            "memory": "realtime_bridge_backends.memory:MemoryBackend",
            "null": "realtime_bridge_backends.null:NullBackend",
            "post": f"{__name__}:PostBackend",
            "websocket": f"{__name__}:RemoteLog",
            "broken": f"{__name__}:not_a_plugin",
            "needy": "realtime_bridge_no_such_module:Backend",
        }.items()
    )
    monkeypatch.setattr(plugins, "entry_points", found.select)


def settings(backend: str, log: str = "auto") -> Settings:
    return Settings(backend=backend, log=log)


def test_a_backend_is_found_by_its_name() -> None:
    assert plugins.load_backend("memory") is MemoryBackend
    assert plugins.load_backend("null") is NullBackend


def test_installed_backends_are_listed_once_and_sorted() -> None:
    assert plugins.installed_backends() == [
        "broken",
        "memory",
        "needy",
        "null",
        "post",
        "websocket",
    ]


def test_an_unknown_name_tells_the_nearest_one() -> None:
    with pytest.raises(BackendNotFoundError, match=r"'memry'\. Did you mean 'memory'\? Installed"):
        Broadcaster.from_settings(settings("memry"))


def test_an_unknown_log_tells_the_nearest_one() -> None:
    with pytest.raises(BackendNotFoundError, match=r"'memori'\. Did you mean 'memory'\?"):
        Broadcaster.from_settings(settings("post", log="memori"))


def test_a_missing_library_becomes_the_command_that_installs_it() -> None:
    with pytest.raises(BackendNotInstalledError) as caught:
        plugins.load_backend("needy")
    assert caught.value.missing == "realtime_bridge_no_such_module"
    assert "pip install 'realtime-bridge[needy]'" in str(caught.value)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_an_entry_point_that_is_no_plugin_is_refused_with_its_place() -> None:
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
        ("post", "auto", RemoteLog, None),
        ("post", "memory", RemoteLog, None),
        ("null", "memory", RemoteLog, None),
        ("websocket", "auto", RemoteLog, None),
        ("websocket", "memory", RemoteLog, None),
    ],
)
def test_a_worker_publishes_through_the_configured_log_and_backend(
    backend: str, log: str, log_class: type[Log] | None, backend_class: type[Backend] | None
) -> None:
    parts = pipeline.worker_pipeline(settings(backend, log))
    assert type(parts.log) is (log_class or type(None))
    assert type(parts.backend) is (backend_class or type(None))


def test_the_server_pushes_what_workers_append_through_it() -> None:
    assert type(pipeline.server_pipeline(settings("post")).backend) is PostBackend


@pytest.mark.parametrize(
    ("configured", "log"),
    [([], None), ([RemoteLog], RemoteLog), ([MemoryBackend, RemoteLog], MemoryBackend)],
)
def test_of_several_automatic_logs_the_first_configured_one_wins(
    monkeypatch: pytest.MonkeyPatch, configured: list[type[Log]], log: type[Log] | None
) -> None:
    for plugin in (MemoryBackend, RemoteLog):
        known = plugin in configured
        monkeypatch.setattr(plugin, "is_configured", classmethod(lambda _, known=known: known))
    monkeypatch.setattr(PostBackend, "default_logs", ("needy", "unknown", "memory", "websocket"))
    assert pipeline.log_class(settings("post")) is log


@pytest.mark.parametrize("backend", ["memory", "post", "websocket"])
def test_the_server_holds_the_log_itself(backend: str) -> None:
    assert type(pipeline.server_pipeline(settings(backend)).log) is MemoryBackend


def test_a_backend_that_remembers_nothing_is_no_log() -> None:
    with pytest.raises(ConfigurationError, match=r"^REALTIME_LOG='null': NullBackend is not a log"):
        Broadcaster.from_settings(settings("memory", log="null"))


@pytest.mark.parametrize("backend", ["memory", "websocket"])
def test_a_backend_that_delivers_from_a_log_needs_one(backend: str) -> None:
    with pytest.raises(ConfigurationError, match=r"REALTIME_LOG may not be none"):
        Broadcaster.from_settings(settings(backend, log="none"))
