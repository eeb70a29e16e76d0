"""Settings: values from the environment, errors by variable, and no secret in any message."""

import logging
from pathlib import Path

import pytest
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from realtime_bridge.backend.environment import load_settings
from realtime_bridge.backend.plugins import BUILT_IN, import_object
from realtime_bridge.environment_settings import EnvironmentSettings
from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model.retention import Retention
from realtime_bridge.model.urls import is_loopback, redact
from realtime_bridge.postgres.settings import PostgresSettings
from realtime_bridge.settings import DEVELOPMENT_SECRET, Settings
from realtime_bridge_backends.postgres import PostgresBackend
from realtime_bridge_backends.pusher.settings import PusherSettings
from realtime_bridge_backends.redis.settings import RedisSettings

SECRET = "a secret of more than thirty-two bytes"


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide the variables and the .env file of this shell."""
    import os

    for name in [name for name in os.environ if name.startswith(("REALTIME_", "PUSHER_"))]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.chdir(tmp_path)


def test_defaults_are_those_of_the_documentation() -> None:
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


def test_environment_wins_over_dotenv_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("REALTIME_BACKEND=null\nREALTIME_PREFIX=shop\nOTHER=1\n")
    monkeypatch.setenv("REALTIME_PREFIX", "store")
    settings = Settings.load()
    assert (settings.backend, settings.prefix) == ("null", "store")


@pytest.mark.parametrize("name", ["SECRET", "PREFIX", "HISTORY_EVENTS", "ORIGINS", "DEV"])
def test_empty_variable_counts_as_unset(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    (tmp_path / ".env").write_text(f"REALTIME_{name}=\n")
    monkeypatch.setenv(f"REALTIME_{name}", "")
    assert Settings.load() == Settings()


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("SECRET", "short", "5 bytes are too short, use at least 32"),
        ("SECRET", f"{SECRET}, hunter2", "secret 2 of 2: 7 bytes are too short, use at least 32"),
        ("SECRET", ", ,", "it has no secret: write one, or several separated by commas"),
        ("PREFIX", "a b", "use 1 to 64 letters, digits, _ and -"),
        ("PATH", "realtime", "start each part with / and use letters"),
        ("PATH", "/a?b", "start each part with / and use letters"),
        ("HISTORY_EVENTS", "many", "write a whole number"),
        ("HISTORY_EVENTS", "1.5", "write a whole number"),
        ("HISTORY_EVENTS", "0", "use at least 1"),
        ("HISTORY_BYTES", "0", "use at least 1"),
        ("HISTORY_SECONDS", "0", "use a number above 0"),
        ("HISTORY_SECONDS", "long", "write a number"),
        ("HISTORY_SECONDS", "inf", "use at most 604800"),
        ("HISTORY_BYTES", "1e99", "write a whole number"),
        ("LIMIT_CONNECTIONS_PER_USER", "0", "use at least 1"),
        ("LIMIT_CHANNELS_PER_CONNECTION", "0", "use at least 1"),
        ("LIMIT_FRAMES_PER_SECOND", "0", "use a number above 0"),
        ("LIMIT_FRAME_BYTES", "1023", "use at least 1024"),
        ("LIMIT_EVENT_BYTES", "1048577", "use at most 1048576"),
        ("LIMIT_UNSENT_BYTES", "1", "use at least 1024"),
        ("ENABLED", "perhaps", "write on or off"),
    ],
)
def test_error_names_variable_sentence_and_example(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    variable = f"REALTIME_{name}"
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        Settings.load()
    assert str(caught.value).startswith(f"Bad configuration: {variable}: {sentence}")
    assert f", for example {variable}=" in str(caught.value)


NUMBERS = [
    name
    for name, field in Settings.model_fields.items()
    if isinstance(field.default, int | float) and not isinstance(field.default, bool)
]


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_that_no_part_can_use_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"REALTIME_{name.upper()}", "9" * 30)
    with pytest.raises(ConfigurationError, match="use at most "):
        Settings.load()
    monkeypatch.setenv(f"REALTIME_{name.upper()}", "inf")
    with pytest.raises(ConfigurationError):
        Settings.load()


@pytest.mark.parametrize("word", ["off", "No", "false", "0"])
def test_customary_words_for_off_are_accepted(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("REALTIME_ENABLED", word)
    monkeypatch.setenv("REALTIME_DEV", "ON")
    assert (Settings.load().enabled, Settings.load().dev) == (False, True)


def test_error_names_the_vendors_variable_as_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUSHER_PORT", "0")
    with pytest.raises(ConfigurationError) as caught:
        PusherSettings.load()
    assert str(caught.value) == (
        "Bad configuration: "
        "REALTIME_PUSHER_APP_ID: it is not set, for example REALTIME_PUSHER_APP_ID=1234567; "
        "REALTIME_PUSHER_KEY: it is not set, for example REALTIME_PUSHER_KEY=KEY; "
        "REALTIME_PUSHER_SECRET: it is not set, for example REALTIME_PUSHER_SECRET=SECRET; "
        "PUSHER_PORT: use at least 1, for example PUSHER_PORT=443"
    )


def test_messages_name_the_variable_that_is_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = "check REALTIME_PUSHER_KEY"
    assert PusherSettings.name_variables(text) == text
    monkeypatch.setenv("REALTIME_PUSHER_KEY", "")
    (tmp_path / ".env").write_text("PUSHER_KEY=k\n")
    assert PusherSettings.name_variables(text) == "check PUSHER_KEY"
    monkeypatch.setenv("REDIS_URL", "redis://db")
    assert RedisSettings.variable("url") == "REDIS_URL"
    monkeypatch.setenv("REALTIME_REDIS_URL", "redis://log")
    assert RedisSettings.variable("url") == "REALTIME_REDIS_URL"


def test_empty_variable_does_not_hide_the_customary_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_POSTGRES_URL", "")
    monkeypatch.setenv("DATABASE_URL", "postgresql://db/app")
    assert PostgresSettings.required_url() == "postgresql://db/app"


@pytest.mark.parametrize(
    ("url", "is_log"),
    [
        ("postgresql+asyncpg://db/app", True),
        ("postgis://db/app", True),
        ("host=db", True),
        ("mysql://db/app", False),
        ("sqlite:///app.sqlite", False),
        ("", False),
    ],
)
def test_database_of_another_kind_is_no_automatic_log(
    monkeypatch: pytest.MonkeyPatch, url: str, *, is_log: bool
) -> None:
    monkeypatch.delenv("REALTIME_POSTGRES_URL", raising=False)
    monkeypatch.setenv("DATABASE_URL", url)
    assert PostgresBackend.is_configured() is is_log


def test_own_variable_wins_over_the_vendors(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"APP_ID": "1", "KEY": "k", "SECRET": "s"}.items():
        monkeypatch.setenv(f"PUSHER_{name}", value)
    monkeypatch.setenv("REALTIME_PUSHER_KEY", "ours")
    assert (PusherSettings.load().app_id, PusherSettings.load().key) == ("1", "ours")


def test_one_error_names_every_bad_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_PATH", "x")
    monkeypatch.setenv("REALTIME_HISTORY_EVENTS", "x")
    with pytest.raises(ConfigurationError, match=r"REALTIME_PATH: .*; REALTIME_HISTORY_EVENTS: "):
        Settings.load()


def test_secrets_are_in_no_message_and_no_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_SECRET", "hunter2")
    with pytest.raises(ConfigurationError) as caught:
        Settings.load()
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    monkeypatch.setenv("REALTIME_SECRET", SECRET)
    assert SECRET not in f"{Settings.load()!r} {Settings.load()}"


def test_constructor_ignores_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_PREFIX", "shop")
    settings = Settings(backend="memory", failover=("null",))
    assert (settings.backend, settings.failover, settings.prefix) == (
        "memory",
        ("null",),
        "realtime",
    )


def test_constructor_raises_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match=r"^Bad configuration: REALTIME_PREFIX: use 1"):
        Settings(prefix="a b")
    with pytest.raises(ConfigurationError, match=r"no setting 'bakend', did you mean 'backend'\?"):
        Settings(bakend="memory")  # type: ignore[call-arg]


def test_settings_nest_in_settings_of_an_application(monkeypatch: pytest.MonkeyPatch) -> None:
    class Application(BaseSettings):
        realtime: Settings = Field(default_factory=Settings.load)
        redis: RedisSettings = Field(default_factory=RedisSettings.load)

    monkeypatch.setenv("REALTIME_BACKEND", "memory")
    monkeypatch.setenv("REDIS_URL", "redis://example.org")
    application = Application()
    assert application.realtime.backend == "memory"
    assert application.redis.url == "redis://example.org"


def test_nested_settings_take_the_applications_names(monkeypatch: pytest.MonkeyPatch) -> None:
    class Application(BaseSettings):
        model_config = SettingsConfigDict(env_prefix="SHOP_", env_nested_delimiter="__")
        realtime: Settings = Settings()

    monkeypatch.setenv("REALTIME_BACKEND", "null")
    monkeypatch.setenv("SHOP_REALTIME__BACKEND", "memory")
    monkeypatch.setenv("SHOP_REALTIME__ORIGINS", "https://a.example,https://b.example")
    realtime = Application().realtime
    assert (realtime.backend, realtime.origins) == (
        "memory",
        ("https://a.example", "https://b.example"),
    )
    monkeypatch.setenv("SHOP_REALTIME__SECRET", "hunter2")
    with pytest.raises(ConfigurationError, match="7 bytes are too short"):
        Application()


def settings_classes() -> list[type[EnvironmentSettings]]:
    built_in = [import_object(entry.settings) for entry in BUILT_IN.values() if entry.settings]
    return [Settings, *built_in]


@pytest.mark.parametrize("settings", settings_classes(), ids=lambda settings: settings.__name__)
def test_every_setting_is_documented(settings: type[EnvironmentSettings]) -> None:
    for name, field in settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
        assert "password" not in repr(field.default)


class TestMisspeltVariables:
    @pytest.mark.parametrize(
        ("variable", "nearest"),
        [
            ("REALTIME_BACKND", "REALTIME_BACKEND"),
            ("REALTIME_HISTORY_EVENT", "REALTIME_HISTORY_EVENTS"),
            ("REALTIME_REDI_URL", "REALTIME_REDIS_URL"),
            ("REALTIME_PUSHER_APPID", "REALTIME_PUSHER_APP_ID"),
            ("REALTIME_WEBSOCKET_ULR", "REALTIME_WEBSOCKET_URL"),
        ],
    )
    def test_warning_names_the_nearest_once(
        self,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        variable: str,
        nearest: str,
    ) -> None:
        monkeypatch.setenv(variable, "hunter2")
        load_settings()
        load_settings()
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert record.getMessage() == f"unknown variable name={variable} nearest={nearest}"

    def test_dotenv_file_is_checked_too(
        self, caplog: pytest.LogCaptureFixture, tmp_path: Path
    ) -> None:
        (tmp_path / ".env").write_text("REALTIME_SECRETT=hunter2\n")
        load_settings()
        assert "name=REALTIME_SECRETT nearest=REALTIME_SECRET" in caplog.text
        assert "hunter2" not in caplog.text

    @pytest.mark.parametrize(
        "variable", ["REALTIME_REDIS_URL", "REALTIME_ABLY_PORT", "REALTIME_QUOTA", "OTHER"]
    )
    def test_known_and_foreign_variables_raise_no_warning(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, variable: str
    ) -> None:
        monkeypatch.setenv(variable, "1")
        load_settings()
        assert caplog.records == []


def test_server_needs_a_secret_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"REALTIME_SECRET is not set: .*serve --dev"):
        Settings.load().server_secret()
    monkeypatch.setenv("REALTIME_SECRET", DEVELOPMENT_SECRET)
    with pytest.raises(
        ConfigurationError, match=r"development secret, known to everyone"
    ) as caught:
        Settings.load().server_secret()
    assert DEVELOPMENT_SECRET not in str(caught.value)
    monkeypatch.setenv("REALTIME_SECRET", f"{SECRET},{DEVELOPMENT_SECRET}")
    with pytest.raises(ConfigurationError, match="has the development secret"):
        Settings.load().server_secret()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "LocalHost", "[::1]"])
def test_loopback_server_gets_the_development_secret(host: str) -> None:
    assert Settings.load().secret_for(f"http://{host}:8000/realtime") == DEVELOPMENT_SECRET


def test_other_server_needs_a_secret() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings.load().secret_for("https://user:pass@example.org/realtime?token=t")
    assert str(caught.value) == (
        "REALTIME_SECRET is not set, and https://example.org/realtime is not on this machine: "
        "set the secret that the server there has"
    )


def test_secret_that_is_set_signs_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_SECRET", SECRET)
    for url in ("http://127.0.0.1:8000/realtime", "https://example.org/realtime"):
        assert Settings.load().secret_for(url) == SECRET


@pytest.mark.parametrize(
    "host", ["", "example.org", "localhost.example.org", "127.0.0.1.example.org", "10.0.0.1", "::"]
)
def test_other_hosts_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        ("redis://:pass@[::1]:6379/0?password=x", "redis://[::1]:6379/0"),
        ("https://user:pass@example.org/a?signature=x#y", "https://example.org/a"),
        ("nonsense", "://nonsense"),
    ],
)
def test_redacted_url_has_no_credentials(url: str, redacted: str) -> None:
    assert redact(url) == redacted
