"""Tests of the pages that may connect, and of what their refusal states."""

import pytest

from realtime_bridge.server.http.origins import MAX_LOGGED, Origins
from tests.server.harness import Serve

ORIGINS = Origins(["https://listed.com", "https://*.tenants.com", "http://dev.com:3000"])


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("https://example.com", "example.com", True),
        ("https://example.com", "example.com:443", True),
        ("http://example.com", "example.com:80", True),
        ("https://example.com", "example.com:80", True),
        ("https://example.com:443", "example.com", True),
        ("https://example.com", "EXAMPLE.com", True),
        ("http://EXAMPLE.com:8000", "example.com:8000", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("https://example.com:444", "example.com", False),
        ("https://example.com", "example.com:444", False),
        ("http://localhost:5173", "localhost:8000", False),
        ("https://example.com.evil.com", "example.com", False),
        ("https://evil.com/example.com", "example.com", False),
        ("https://example.com@evil.com", "example.com", False),
        ("https://listed.com", "example.com", True),
        ("https://LISTED.com:443", "example.com", True),
        ("http://listed.com", "example.com", False),
        ("https://listed.com:444", "example.com", False),
        ("https://listed.com.evil.com", "example.com", False),
        ("https://a.tenants.com", "example.com", True),
        ("https://a.b.tenants.com", "example.com", True),
        ("https://tenants.com", "example.com", False),
        ("https://eviltenants.com", "example.com", False),
        ("https://.tenants.com", "example.com", False),
        ("https://*.tenants.com", "example.com", False),
        ("http://a.tenants.com", "example.com", False),
        ("http://dev.com:3000", "example.com", True),
        ("http://dev.com", "example.com", False),
        ("null", "example.com", False),
        ("null", "null", False),
        ("", "", False),
        ("", None, False),
        ("http://[", "example.com", False),
        ("http://[", "[", False),
        ("https://example.com", "example.com:port", False),
    ],
)
def test_only_same_host_and_listed_origins_may_connect(
    origin: str, host: str | None, *, allowed: bool
) -> None:
    assert ORIGINS.allows(origin, host) is allowed


async def test_page_of_a_listed_subdomain_may_read_answers(serve: Serve) -> None:
    site = await serve(origins=("https://*.example.com/",))
    origin = "https://a.example.com"
    headers = {"origin": origin, "authorization": f"Bearer {site.token()}"}
    async with site.http.post(f"{site.url}/connect", json={}, headers=headers) as answer:
        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == origin
    async with site.http.options(f"{site.url}/connect", headers={"origin": origin}) as answer:
        assert answer.status == 204
    client = await site.open(additional_headers={"origin": origin})
    await client.introduce(site.token())


async def test_refused_origin_is_logged_once_with_the_setting(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    site = await serve()
    for _ in range(3):
        status, answer = await site.post("connect", {}, origin="https://app.example")
        assert (status, answer["error"]["code"]) == (403, "bad_origin")
        headers = {"origin": "https://app.example"}
        async with site.http.options(f"{site.url}/connect", headers=headers) as preflight:
            assert preflight.status == 403
    await site.post("poll", {}, origin="https://other.example")
    lines = [message for message in caplog.messages if message.startswith("origin refused")]
    assert len(lines) == 2
    assert "origin='https://app.example' host='127.0.0.1:" in lines[0]
    assert "REALTIME_ORIGINS" in lines[0]


def test_refusals_of_invented_origins_fill_no_log(caplog: pytest.LogCaptureFixture) -> None:
    origins = Origins([])
    for number in range(3 * MAX_LOGGED):
        origins.refusal(f"https://a{number}.evil.example", "example.com")
    assert len(caplog.messages) == MAX_LOGGED
