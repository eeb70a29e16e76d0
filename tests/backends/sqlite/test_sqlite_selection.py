"""Choice of the SQLite log by the environment."""

from pathlib import Path

import pytest

from realtime_bridge import Broadcaster, ConfigurationError
from realtime_bridge.publishing.pipeline import log_name, server_pipeline, worker_pipeline
from realtime_bridge.settings import Settings
from realtime_bridge_backends.memory import MemoryBackend
from realtime_bridge_backends.sqlite import SQLiteBackend
from realtime_bridge_backends.websocket import WebSocketBackend

VARIABLE = "REALTIME_SQLITE_PATH"


@pytest.fixture
def _path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "log.db"))


def test_nothing_set_is_a_log_in_memory() -> None:
    assert type(server_pipeline(Settings()).log) is MemoryBackend
    assert type(worker_pipeline(Settings()).log) is WebSocketBackend


@pytest.mark.usefixtures("_path")
@pytest.mark.parametrize(
    "settings", [Settings(), Settings(log="sqlite"), Settings(backend="sqlite")], ids=repr
)
def test_servers_and_workers_with_a_path_use_the_file_themselves(settings: Settings) -> None:
    for create in (server_pipeline, worker_pipeline):
        parts = create(settings)
        assert type(parts.log) is SQLiteBackend
        assert parts.backend is None


def test_path_in_the_env_file_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text(f"{VARIABLE}={tmp_path}/log.db\n")
    assert log_name(Settings()) == "sqlite"


@pytest.mark.usefixtures("_path")
@pytest.mark.parametrize("backend", ["pusher", "ably"])
def test_file_is_the_last_log_beside_a_provider(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert log_name(Settings(backend=backend)) == "sqlite"
    monkeypatch.setenv("REALTIME_POSTGRES_URL", "postgresql://127.0.0.1/app")
    assert log_name(Settings(backend=backend)) == "postgres"
    monkeypatch.setenv("REALTIME_REDIS_URL", "redis://127.0.0.1")
    assert log_name(Settings(backend=backend)) == "redis"


@pytest.mark.parametrize("settings", [Settings(log="sqlite"), Settings(backend="sqlite")], ids=repr)
def test_chosen_file_without_a_path_names_the_variable(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match=f"{VARIABLE} is not set"):
        server_pipeline(settings)


def test_relative_path_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "log.db")
    with pytest.raises(ConfigurationError, match=f"{VARIABLE}: write an absolute path"):
        server_pipeline(Settings())


async def test_transaction_is_refused_with_what_to_do(tmp_path: Path) -> None:
    async with Broadcaster(log=SQLiteBackend(tmp_path / "log.db")) as broadcaster:
        with pytest.raises(ConfigurationError, match="publish_on_commit in Django"):
            await broadcaster.publish("job.7", "job.step", transaction=object())
