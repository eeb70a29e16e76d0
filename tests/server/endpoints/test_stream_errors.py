"""Tests of requests about streams that are malformed, come too late, or have no log."""

from typing import Any

import pytest

from realtime_bridge.errors import ConfigurationError, KeyOwnedError
from realtime_bridge.testing.providers import LocalPusher
from tests.server import doors
from tests.server.fakes import FakeBackend
from tests.server.harness import Frame, Serve, Site, make_bridge

CHANNEL = "chat.1"
READ = "channel=chat.1&id=m1"
MALFORMED: dict[str, tuple[int, str]] = {
    "channel=chat.1": (400, "bad_stream"),
    "channel=chat.1&id=": (400, "bad_stream"),
    f"channel=chat.1&id={'x' * 122}": (400, "bad_stream"),
    "channel=chat.1&id=a%0Ab": (400, "bad_stream"),
    "id=m1": (400, "bad_channel"),
    "channel=chat%201&id=m1": (400, "bad_channel"),
    "channel=other.1&id=m1": (403, "forbidden"),
    f"{READ}&format=xml": (400, "bad_format"),
    f"{READ}&format=json": (404, "unknown_stream"),
    f"{READ}&last_event_id=nonsense": (400, "bad_position"),
    f"{READ}&last_event_id=k3v9q2wz:x": (400, "bad_position"),
    f"{READ}&format=ui-message&last_event_id=nonsense": (400, "bad_position"),
}
STOPS: list[tuple[Frame, int, str]] = [
    ({"channel": CHANNEL}, 400, "bad_stream"),
    ({"channel": CHANNEL, "stream": 7}, 400, "bad_stream"),
    ({"channel": CHANNEL, "stream": "a\nb"}, 400, "bad_stream"),
    ({"channel": CHANNEL, "stream": "m1", "attempt": "a b"}, 400, "bad_attempt"),
    ({"channel": CHANNEL, "stream": "m1", "attempt": 7}, 400, "bad_attempt"),
    ({"stream": "m1"}, 400, "bad_channel"),
    ({"channel": ["chat.1"], "stream": "m1"}, 400, "bad_channel"),
    ({"channel": "other.1", "stream": "m1"}, 403, "may_not_control"),
    ({"channel": CHANNEL, "stream": "m1"}, 404, "unknown_stream"),
]


def bearer(site: Site) -> dict[str, str]:
    token = site.tokens.issue("42", channels=["chat.*"], controls=["chat.*"])
    return {"authorization": f"Bearer {token}"}


async def read(site: Site, query: str) -> tuple[int, str]:
    async with site.http.get(f"{site.url}/stream?{query}", headers=bearer(site)) as response:
        return response.status, (await response.json())["error"]["code"]


async def stop(site: Site, body: Any) -> tuple[int, str]:
    status, answer = await site.post("stream/stop", body, **bearer(site))
    return status, answer["error"]["code"]


async def test_malformed_request_has_an_error_of_its_own(site: Site) -> None:
    for query, expected in MALFORMED.items():
        assert await read(site, query) == expected, query
    for body, status, code in STOPS:
        assert await stop(site, body) == (status, code), body


async def test_stop_of_an_ended_stream_reports_its_state(site: Site) -> None:
    async with site.bridge.stream(CHANNEL, id="m1") as stream:
        stream.append("a")
    body = {"channel": CHANNEL, "stream": "m1"}
    status, answer = await site.post("stream/stop", body, **bearer(site))
    assert (status, answer["error"]) == (
        409,
        {"code": "ended", "message": "Stream m1 is completed already", "state": "completed"},
    )


async def test_plain_publish_for_the_key_of_a_stream_raises(site: Site) -> None:
    async with site.bridge.stream(CHANNEL, id="m1") as stream:
        stream.append("a")
    with pytest.raises(KeyOwnedError, match="'stream-m1'"):
        await site.bridge.publish(CHANNEL, "x", key="stream-m1")


async def test_answer_of_another_format_is_refused(site: Site) -> None:
    async with site.bridge.stream(CHANNEL, id="m1", format="json") as stream:
        stream.append(1)
    for form in ("ui-message", "ag-ui"):
        assert await read(site, f"{READ}&format={form}") == (409, "other_format")


async def test_log_without_owners_is_named(serve: Serve) -> None:
    site = await serve(with_log=FakeBackend())
    assert await read(site, READ) == (501, "no_owners")
    assert await read(site, f"{READ}&format=json") == (501, "no_owners")
    assert await stop(site, {"channel": CHANNEL, "stream": "m1"}) == (501, "no_owners")
    with pytest.raises(ConfigurationError, match=r"keeps keys with owners, and .* keeps none"):
        async with site.bridge.stream(CHANNEL):
            pass


async def test_server_without_a_log_has_no_streams(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with LocalPusher() as pusher:
        for name, value in pusher.environment.items():
            monkeypatch.setenv(name, value)
        site = await serve(make_bridge(backend="pusher", log="none"))
        for form in ("events", "json", "ui-message"):
            assert await read(site, f"{READ}&format={form}") == (404, "no_log")
        assert await stop(site, {"channel": CHANNEL, "stream": "m1"}) == (404, "no_log")
        with pytest.raises(ConfigurationError, match="Streams need a log: set REALTIME_LOG"):
            async with site.bridge.stream(CHANNEL):
                pass


async def test_wsgi_server_holds_no_stream(site: Site) -> None:
    for form in ("events", "ui-message", "ag-ui"):
        status, answer = await doors.call_wsgi(
            site, "GET", "stream", query=f"{READ}&format={form}", headers=bearer(site)
        )
        assert (status, answer["error"]["code"]) == (501, "no_stream_here")
