"""Public names of the package, and no others."""

import pytest

import realtime_bridge

PUBLIC = [
    "AnswerTimeoutError",
    "BackendAuthError",
    "BackendNotFoundError",
    "BackendNotInstalledError",
    "BackendUnavailableError",
    "BlockingBroadcaster",
    "Broadcaster",
    "ConfigurationError",
    "Event",
    "ExtraNotInstalledError",
    "InvalidEventError",
    "InvalidIdentityError",
    "JobCancelledError",
    "JobSupersededError",
    "KeyOwnedError",
    "Position",
    "PublishError",
    "RateLimitedError",
    "RealtimeError",
    "Receipt",
    "StreamError",
    "StreamFullError",
    "StreamStoppedError",
    "StreamSupersededError",
    "user_channel",
]


def test_public_names_are_these() -> None:
    assert realtime_bridge.__all__ == PUBLIC


def test_every_public_name_can_be_imported() -> None:
    assert [getattr(realtime_bridge, name).__name__ for name in PUBLIC] == PUBLIC
    assert set(PUBLIC) <= set(dir(realtime_bridge))


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(
        AttributeError, match=r"module 'realtime_bridge' has no attribute 'Brodcast"
    ):
        _ = realtime_bridge.Brodcaster


def test_contract_suites_are_public() -> None:
    from realtime_bridge import testing

    assert {"BackendContract", "FeedContract", "LogContract"} <= set(testing.__all__)
    assert all(hasattr(testing, name) for name in testing.__all__)
