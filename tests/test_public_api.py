"""The names that other people's programs import, and no others."""

import pytest

import realtime_bridge

PUBLIC = [
    "BackendAuthError",
    "BackendNotFoundError",
    "BackendNotInstalledError",
    "BackendUnavailableError",
    "BlockingBroadcaster",
    "Broadcaster",
    "ConfigurationError",
    "Event",
    "InvalidEventError",
    "Position",
    "PublishError",
    "RateLimitedError",
    "RealtimeError",
    "Receipt",
]


def test_the_public_names_are_these() -> None:
    assert realtime_bridge.__all__ == PUBLIC


def test_every_public_name_is_there_and_says_its_own() -> None:
    assert [getattr(realtime_bridge, name).__name__ for name in PUBLIC] == PUBLIC
    assert set(PUBLIC) <= set(dir(realtime_bridge))


def test_another_name_is_refused_as_python_does() -> None:
    with pytest.raises(
        AttributeError, match=r"module 'realtime_bridge' has no attribute 'Brodcast"
    ):
        _ = realtime_bridge.Brodcaster


def test_the_contract_suites_are_public() -> None:
    from realtime_bridge import testing

    assert {"BackendContract", "FeedContract", "LogContract"} <= set(testing.__all__)
    assert all(hasattr(testing, name) for name in testing.__all__)
