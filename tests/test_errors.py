"""Every error says what was wrong and what to do."""

import pytest

import realtime_bridge
from realtime_bridge import errors


@pytest.mark.parametrize(
    ("error", "parent"),
    [
        (errors.ConfigurationError, errors.RealtimeError),
        (errors.BackendNotFoundError, errors.ConfigurationError),
        (errors.BackendNotInstalledError, errors.ConfigurationError),
        (errors.InvalidEventError, errors.RealtimeError),
        (errors.InvalidEventError, ValueError),
        (errors.PublishError, errors.RealtimeError),
        (errors.BackendUnavailableError, errors.PublishError),
        (errors.BackendAuthError, errors.PublishError),
        (errors.RateLimitedError, errors.PublishError),
    ],
)
def test_errors_descend_as_promised(error: type[Exception], parent: type[Exception]) -> None:
    assert issubclass(error, parent)
    assert getattr(realtime_bridge, error.__name__) is error


def test_an_unknown_backend_names_the_nearest_and_all_that_are_installed() -> None:
    error = errors.BackendNotFoundError("rediss", known=["memory", "redis"])
    assert str(error) == (
        "Unknown backend 'rediss'. Did you mean 'redis'? Installed backends: memory, redis."
    )
    assert (error.name, error.known) == ("rediss", ("memory", "redis"))


def test_an_unknown_backend_like_no_other_names_none() -> None:
    error = errors.BackendNotFoundError("xyz", known=["memory", "redis"])
    assert str(error) == "Unknown backend 'xyz'. Installed backends: memory, redis."


def test_a_missing_library_says_what_to_run() -> None:
    error = errors.BackendNotInstalledError("redis", missing="redis.asyncio", extra="redis")
    assert str(error) == (
        "Backend 'redis' needs the package 'redis.asyncio', which is not installed. "
        "Run: pip install 'realtime-bridge[redis]'"
    )
    assert (error.name, error.missing) == ("redis", "redis.asyncio")


def test_errors_say_whether_the_same_call_may_work_later() -> None:
    assert not errors.PublishError("refused").retryable
    assert not errors.BackendAuthError("refused").retryable
    assert errors.PublishError("cut", retryable=True).retryable
    assert errors.BackendUnavailableError("gone").retryable
    assert not errors.BackendUnavailableError("gone", retryable=False).retryable
    limited = errors.RateLimitedError("slower", retry_after=1.5)
    assert (limited.retryable, limited.retry_after) == (True, 1.5)
    assert errors.RateLimitedError("slower").retry_after is None
