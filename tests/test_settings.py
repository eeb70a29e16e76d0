"""The configuration is read once; what cannot work is refused by name, and no secret is shown."""

from pathlib import Path

import pytest

from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model.retention import Retention
from realtime_bridge.model.urls import is_loopback, redact
from realtime_bridge.settings import DEVELOPMENT_SECRET, Settings
from realtime_bridge_backends.pusher.settings import PusherSettings

SECRET = "a secret of more than thirty-two bytes"


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the variables and the .env file of whoever runs the tests out of them."""
    import os

    for name in [name for name in os.environ if name.startswith(("REALTIME_", "PUSHER_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_the_defaults_are_those_of_the_documentation() -> None:
    settings = Settings.load()
    assert (settings.backend, settings.log, settings.secret) == ("websocket", "auto", None)
    assert (settings.prefix, settings.path, settings.origins) == ("realtime", "/realtime", ())
    assert settings.retention == Retention(events=1_000, bytes=1024 * 1024, seconds=600.0)
    assert settings.limit_event_bytes == 1024 * 1024


def test_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "BACKEND": "null",
        "LOG": "none",
        "SECRET": SECRET,
        "PREFIX": "shop",
        "PATH": "/api/v1",
        "ORIGINS": "https://a.example, https://b.example,",
        "HISTORY_EVENTS": "5",
        "HISTORY_BYTES": "6",
        "HISTORY_SECONDS": "7.5",
        "LIMIT_CHANNELS_PER_CONNECTION": "3",
    }.items():
        monkeypatch.setenv(f"REALTIME_{name}", value)
    settings = Settings.load()
    assert (settings.backend, settings.log, settings.prefix) == ("null", "none", "shop")
    assert settings.path == "/api/v1"
    assert settings.origins == ("https://a.example", "https://b.example")
    assert settings.retention == Retention(events=5, bytes=6, seconds=7.5)
    assert settings.limit_channels_per_connection == 3
    assert settings.server_secret() == SECRET


def test_a_dotenv_file_is_read_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("REALTIME_BACKEND=null\nREALTIME_PREFIX=shop\nOTHER=1\n")
    monkeypatch.setenv("REALTIME_PREFIX", "store")
    settings = Settings.load()
    assert (settings.backend, settings.prefix) == ("null", "store")


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("SECRET", "short", "5 bytes are too short, use at least 32: openssl rand -hex 32"),
        ("SECRET", "", "0 bytes are too short, use at least 32: openssl rand -hex 32"),
        ("PREFIX", "a b", "Expected `str` matching regex"),
        ("PREFIX", "", "Expected `str` matching regex"),
        ("PATH", "realtime", "Expected `str` matching regex"),
        ("PATH", "/a?b", "Expected `str` matching regex"),
        ("HISTORY_EVENTS", "many", "Expected `int`"),
        ("HISTORY_EVENTS", "0", ">= 1"),
        ("HISTORY_BYTES", "0", ">= 1"),
        ("HISTORY_SECONDS", "0", "> 0"),
        ("LIMIT_CONNECTIONS_PER_USER", "0", ">= 1"),
        ("LIMIT_CHANNELS_PER_CONNECTION", "0", ">= 1"),
        ("LIMIT_FRAMES_PER_SECOND", "0", "> 0"),
        ("LIMIT_FRAME_BYTES", "1023", ">= 1024"),
        ("LIMIT_EVENT_BYTES", "1048577", "<= 1048576"),
        ("LIMIT_UNSENT_BYTES", "1", ">= 1024"),
        ("ENABLED", "perhaps", "Expected `bool`"),
    ],
)
def test_a_variable_that_cannot_work_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, problem: str
) -> None:
    monkeypatch.setenv(f"REALTIME_{name}", value)
    with pytest.raises(ConfigurationError) as caught:
        Settings.load()
    assert str(caught.value).startswith(f"Bad configuration: REALTIME_{name}: ")
    assert problem in str(caught.value)


@pytest.mark.parametrize("word", ["off", "No", "false", "0"])
def test_off_is_said_in_any_customary_word(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("REALTIME_ENABLED", word)
    monkeypatch.setenv("REALTIME_DEV", "ON")
    assert (Settings.load().enabled, Settings.load().dev) == (False, True)


def test_a_variable_is_named_by_the_name_it_was_given_under(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PUSHER_PORT", "0")
    with pytest.raises(ConfigurationError) as caught:
        PusherSettings.load()
    assert str(caught.value) == (
        "Bad configuration: REALTIME_PUSHER_APP_ID: it is not set; "
        "REALTIME_PUSHER_KEY: it is not set; REALTIME_PUSHER_SECRET: it is not set; "
        "PUSHER_PORT: Expected `int` >= 1"
    )


def test_our_own_variable_wins_over_the_vendors(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"APP_ID": "1", "KEY": "k", "SECRET": "s"}.items():
        monkeypatch.setenv(f"PUSHER_{name}", value)
    monkeypatch.setenv("REALTIME_PUSHER_KEY", "ours")
    assert (PusherSettings.load().app_id, PusherSettings.load().key) == ("1", "ours")


def test_every_variable_that_cannot_work_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_PATH", "x")
    monkeypatch.setenv("REALTIME_HISTORY_EVENTS", "x")
    with pytest.raises(ConfigurationError, match=r"REALTIME_PATH: .*; REALTIME_HISTORY_EVENTS: "):
        Settings.load()


def test_no_secret_is_in_a_message_nor_in_a_representation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REALTIME_SECRET", "hunter2")
    with pytest.raises(ConfigurationError) as caught:
        Settings.load()
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    monkeypatch.setenv("REALTIME_SECRET", SECRET)
    assert SECRET not in f"{Settings.load()!r} {Settings.load()}"


def test_a_server_in_earnest_has_a_secret_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"REALTIME_SECRET is not set: .*serve --dev"):
        Settings.load().server_secret()
    monkeypatch.setenv("REALTIME_SECRET", DEVELOPMENT_SECRET)
    with pytest.raises(
        ConfigurationError, match=r"development secret, known to everyone"
    ) as caught:
        Settings.load().server_secret()
    assert DEVELOPMENT_SECRET not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "LocalHost", "[::1]"])
def test_without_a_secret_a_loopback_server_is_taken_for_a_development_one(host: str) -> None:
    assert Settings.load().secret_for(f"http://{host}:8000/realtime") == DEVELOPMENT_SECRET


def test_without_a_secret_no_other_server_is_called() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings.load().secret_for("https://user:pass@example.org/realtime?token=t")
    assert str(caught.value) == (
        "REALTIME_SECRET is not set, and https://example.org/realtime is not on this machine: "
        "set the secret that the server there has"
    )


def test_a_secret_that_is_set_is_used_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_SECRET", SECRET)
    for url in ("http://127.0.0.1:8000/realtime", "https://example.org/realtime"):
        assert Settings.load().secret_for(url) == SECRET


@pytest.mark.parametrize(
    "host", ["", "example.org", "localhost.example.org", "127.0.0.1.example.org", "10.0.0.1", "::"]
)
def test_other_hosts_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:pass@[::1]:6379/0?password=x", "redis://[::1]:6379/0"),
        ("https://user:pass@example.org/a?signature=x#y", "https://example.org/a"),
        ("nonsense", "://nonsense"),
    ],
)
def test_a_url_in_a_message_has_no_credentials(url: str, shown: str) -> None:
    assert redact(url) == shown
