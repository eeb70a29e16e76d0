"""Tests of loopback hosts, and of URLs without secrets."""

import pytest

from realtime_bridge.model.urls import is_loopback, is_well_formed, redact


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("0.0.0.0", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_only_hosts_of_this_machine_are_loopback(host: str, *, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        ("redis://:hush@db:6379/0?password=hush#hush", "redis://db:6379/0"),
        ("redis://user:hu@sh@a:1,b:2/0", "redis://a:1,b:2/0"),
        ("https://example.org/realtime", "https://example.org/realtime"),
    ],
)
def test_redacted_url_has_no_credentials_and_no_query(url: str, redacted: str) -> None:
    assert redact(url) == redacted


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hush#x@db:6379/0",
        "redis://:hush?x@db:6379/0",
        "redis://:hush/x@db:6379/0",
        "redis://:hush[x@db:6379/0",
        "redis://:1234/hush@db:6379/0",
        "redis://:hush",
        "redis://user:hush",
        "redis://a@hush#b@db",
        "https://ada:hush/x@example.org/realtime",
    ],
)
def test_url_with_unclear_parts_is_not_shown(url: str) -> None:
    assert not is_well_formed(url)
    assert "hush" not in redact(url)


@pytest.mark.parametrize(
    "url", ["redis://[::1]:6379/0", "redis://a_b:1,b:2/0", "unix:///run/redis.sock", "redis://"]
)
def test_usual_url_is_well_formed(url: str) -> None:
    assert is_well_formed(url)
    assert redact(url) == url
