"""Errors: their bases, and messages that name the failure and one thing to do."""

import pytest

import realtime_bridge
from realtime_bridge import errors


@pytest.mark.parametrize(
    ("error", "parent"),
    [
        (errors.ConfigurationError, errors.RealtimeError),
        (errors.BackendNotFoundError, errors.ConfigurationError),
        (errors.ExtraNotInstalledError, errors.ConfigurationError),
        (errors.ExtraNotInstalledError, ImportError),
        (errors.BackendNotInstalledError, errors.ExtraNotInstalledError),
        (errors.InvalidEventError, errors.RealtimeError),
        (errors.InvalidEventError, ValueError),
        (errors.PublishError, errors.RealtimeError),
        (errors.BackendUnavailableError, errors.PublishError),
        (errors.BackendAuthError, errors.PublishError),
        (errors.RateLimitedError, errors.PublishError),
    ],
)
def test_errors_have_these_bases(error: type[Exception], parent: type[Exception]) -> None:
    assert issubclass(error, parent)
    assert getattr(realtime_bridge, error.__name__) is error


def test_unknown_backend_names_nearest_and_installed_ones() -> None:
    error = errors.BackendNotFoundError("rediss", known=["memory", "redis"])
    assert str(error) == (
        "Unknown backend 'rediss'. Did you mean 'redis'? Installed backends: memory, redis."
    )
    assert (error.name, error.known) == ("rediss", ("memory", "redis"))


def test_unknown_backend_without_a_near_name_has_no_hint() -> None:
    error = errors.BackendNotFoundError("xyz", known=["memory", "redis"])
    assert str(error) == "Unknown backend 'xyz'. Installed backends: memory, redis."


def test_missing_extra_names_the_command() -> None:
    error = errors.ExtraNotInstalledError("The client", missing="aiohttp", extra="client")
    assert str(error) == (
        "The client needs the package 'aiohttp', which is not installed. "
        "Run: pip install 'realtime-bridge[client]'"
    )
    assert error.missing == "aiohttp"


def test_missing_package_of_a_backend_names_the_command() -> None:
    error = errors.BackendNotInstalledError("redis", missing="redis.asyncio", extra="redis")
    assert str(error) == (
        "Backend 'redis' needs the package 'redis.asyncio', which is not installed. "
        "Run: pip install 'realtime-bridge[redis]'"
    )
    assert (error.name, error.missing) == ("redis", "redis.asyncio")


def test_errors_show_whether_a_retry_may_succeed() -> None:
    assert not errors.PublishError("refused").retryable
    assert not errors.BackendAuthError("refused").retryable
    assert errors.PublishError("cut", retryable=True).retryable
    assert errors.BackendUnavailableError("gone").retryable
    assert not errors.BackendUnavailableError("gone", retryable=False).retryable
    limited = errors.RateLimitedError("slower", retry_after=1.5)
    assert (limited.retryable, limited.retry_after) == (True, 1.5)
    assert errors.RateLimitedError("slower").retry_after is None
