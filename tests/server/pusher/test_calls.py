"""Calls of Pusher's server SDKs: events, batches, counts, ends of connections, and their limits."""

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from pusher.errors import PusherBadAuth, PusherBadRequest, PusherBadStatus

from realtime_bridge.errors import BackendUnavailableError, ConfigurationError
from realtime_bridge.model.channel import check_event_channel
from realtime_bridge.protocol.pusher.names import ChannelNameError, decode_name
from tests.server.harness import Serve, Site, make_bridge
from tests.server.pusher.clients import APP, connect_pusher, sdk_of


def signed(method: str, path: str, body: bytes, **changes: str) -> str:
    """Return the query of a signed call."""
    fields = {
        "auth_key": APP.key,
        "auth_timestamp": str(int(time.time())),
        "auth_version": "1.0",
        "body_md5": hashlib.md5(body).hexdigest(),
        **changes,
    }
    text = "&".join(f"{name}={fields[name]}" for name in sorted(fields))
    return urlencode({**fields, "auth_signature": APP.sign(f"{method}\n{path}\n{text}")})


async def call(
    site: Site, method: str, path: str, body: bytes = b"", query: str | None = None
) -> tuple[int, str]:
    """Send a call, and return the status and the text of the answer."""
    query = signed(method, path, body) if query is None else query
    async with site.http.request(method, f"{site.origin}{path}?{query}", data=body) as response:
        return response.status, await response.text()


def event(**fields: Any) -> bytes:
    given = {"name": "e", "channels": ["news"], "data": "x", **fields}
    return json.dumps(given).encode()


EVENTS = f"/apps/{APP.app_id}/events"


async def test_repeated_call_publishes_nothing_again(site: Site) -> None:
    client = await connect_pusher(site)
    await client.subscribe("news")
    await client.subscribe("other")
    body = event(channels=["news", "other"])
    query = signed("POST", EVENTS, body)
    for _ in range(3):
        assert await call(site, "POST", EVENTS, body, query) == (200, "{}")
    channels = [(await client.expect("e"))["channel"] for _ in range(2)]
    assert sorted(channels) == ["news", "other"]
    await client.ping()


async def test_signature_in_capitals_is_the_same_call(site: Site) -> None:
    client = await connect_pusher(site)
    await client.subscribe("news")
    query = signed("POST", EVENTS, event())
    for text in (query, query[:-64] + query[-64:].upper()):
        await call(site, "POST", EVENTS, event(), text)
    await client.expect("e")
    await client.ping()


@pytest.mark.parametrize(
    ("path", "signed_path"),
    [
        (EVENTS, "/apps/1002/events"),
        (EVENTS, f"/apps/{APP.app_id}/batch_events"),
        (f"/apps/{APP.app_id}/batch_events", EVENTS),
        (f"/realtime{EVENTS}", f"/other{EVENTS}"),
    ],
)
async def test_signature_over_another_path_is_refused(
    site: Site, path: str, signed_path: str
) -> None:
    status, text = await call(site, "POST", path, event(), signed("POST", signed_path, event()))
    assert (status, text[:17]) == (401, "Invalid signature")


# Signed in the test: a signature from the collection may expire before its test runs.
@pytest.mark.parametrize(
    ("query", "text"),
    [
        (lambda: "", "Unknown auth_key"),
        (lambda: urlencode({"auth_key": APP.key}), "not a Unix time"),
        (lambda: signed("POST", EVENTS, event(), auth_timestamp="1353088179"), "Timestamp expired"),
        (lambda: signed("GET", EVENTS, event()), "Invalid signature"),
        (lambda: signed("POST", EVENTS, b"other"), "body_md5"),
        (lambda: signed("POST", EVENTS, event(), auth_key="other"), "Unknown auth_key"),
    ],
)
async def test_call_without_a_valid_signature_is_refused(
    site: Site, query: Callable[[], str], text: str
) -> None:
    status, answer = await call(site, "POST", EVENTS, event(), query())
    assert status == 401
    assert text in answer


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/apps/1002/events", "POST", 404),
        (EVENTS, "GET", 404),
        (f"{EVENTS}/more", "POST", 404),
        (f"/apps/{APP.app_id}", "POST", 404),
        (f"/app/{APP.key}", "GET", 426),
        (f"/apps/{APP.app_id}/channels/private-a/users", "GET", 400),
    ],
)
async def test_unknown_call_is_refused(site: Site, path: str, method: str, status: int) -> None:
    assert (await call(site, method, path))[0] == status


@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({"channels": ["presence-a b"]}, 400, "Invalid channel name"),
        ({"channels": ["news", "private-public.news"]}, 400, "must not begin with public."),
        ({"channels": [f"c{n}" for n in range(101)]}, 400, "1 to 100 channels"),
        ({"name": "a\nb"}, 400, "Bad event name"),
        ({"data": "x" * 10_241}, 413, "over 10240 bytes"),
        ({"data": {}}, 400, "data is not a string"),
        ({"info": "user_count"}, 400, "user_count"),
        ({"channels": [json.loads("[" * 900 + "]" * 900)]}, 400, "channel is not a string"),
        ({"channels": ["news", "news"]}, 400, "named twice"),
        ({"socket_id": 1.2}, 400, "Invalid socket_id"),
    ],
)
async def test_invalid_event_is_refused_and_nothing_published(
    site: Site, fields: dict[str, Any], status: int, text: str
) -> None:
    client = await connect_pusher(site)
    await client.subscribe("news")
    answer = await call(site, "POST", EVENTS, event(**fields))
    assert answer[0] == status
    assert text in answer[1]
    await client.ping()


async def test_text_whose_escapes_exceed_the_limit_is_too_large(serve: Serve) -> None:
    site = await serve(pusher_door=True, limit_event_bytes=100)
    status, _ = await call(site, "POST", EVENTS, event(data="\x01" * 90))
    assert status == 413


async def test_limit_of_data_may_be_raised(serve: Serve) -> None:
    site = await serve(pusher_door=True, pusher_door_bytes=300_000)
    body = event(data="x" * 300_000)
    assert (await call(site, "POST", EVENTS, body))[0] == 200


async def test_log_that_fails_is_a_503_that_may_be_repeated(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise BackendUnavailableError("down")

    body = event()
    query = signed("POST", EVENTS, body)
    with monkeypatch.context() as patch:
        patch.setattr(type(site.context.pipeline.log), "append", fail)
        assert (await call(site, "POST", EVENTS, body, query))[0] == 503
    assert (await call(site, "POST", EVENTS, body, query))[0] == 200


async def test_sdk_publishes_batches_and_reads_counts(site: Site) -> None:
    client, sdk = await connect_pusher(site), sdk_of(site.origin)
    await client.subscribe("news")
    await client.subscribe("private-a")
    batch = [
        {"channel": "news", "name": "one", "data": {"a": 1}},
        {"channel": "private-a", "name": "two", "data": "x"},
    ]
    assert await sdk.trigger_batch(batch) == {}
    assert {(await client.frame())["event"] for _ in batch} == {"one", "two"}
    assert await sdk.channels_info() == {"channels": {"news": {}, "private-a": {}}}
    assert await sdk.channels_info("private-") == {"channels": {"private-a": {}}}
    info = await sdk.channel_info("news", ["subscription_count"])
    assert info == {"occupied": True, "subscription_count": 1}
    assert await sdk.channel_info("empty") == {"occupied": False}
    with pytest.raises(PusherBadRequest, match="presence"):
        await sdk.channel_info("news", ["user_count"])
    with pytest.raises(PusherBadAuth):
        await sdk_of(site.origin, secret="other").trigger("news", "e", "x")
    with pytest.raises(PusherBadStatus, match="404"):
        await sdk_of(site.origin, app_id="1002").trigger("news", "e", "x")


async def test_answer_has_the_requested_counts(site: Site) -> None:
    client = await connect_pusher(site)
    await client.subscribe("news")
    body = event(info="subscription_count")
    query = signed("POST", EVENTS, body)
    async with site.http.post(f"{site.origin}{EVENTS}?{query}", data=body) as response:
        assert response.headers["realtime-scope"] == "cluster"
        assert await response.json() == {"channels": {"news": {"subscription_count": 1}}}
    one = {"name": "e", "channel": "news", "data": "x"}
    body = json.dumps({"batch": [{**one, "info": "subscription_count"}, one]}).encode()
    path = f"/apps/{APP.app_id}/batch_events"
    status, text = await call(site, "POST", path, body)
    assert (status, json.loads(text)) == (200, {"batch": [{"subscription_count": 1}, {}]})
    await client.socket.close()
    await site.left_nothing()
    assert await call(site, "GET", f"/apps/{APP.app_id}/channels") == (200, '{"channels":{}}')


@pytest.mark.parametrize("encode", [str, quote])
async def test_terminated_user_is_closed_and_others_stay(site: Site, encode: Any) -> None:
    client, other = await connect_pusher(site), await connect_pusher(site)
    await client.sign_in("auth0|42")
    await other.sign_in("7")
    path = f"/apps/{APP.app_id}/users/{encode('auth0|42')}/terminate_connections"
    query = signed("POST", path, b"{}")
    url = f"{site.origin}{quote(path, safe='/%')}?{query}"
    async with site.http.post(url, data=b"{}") as response:
        assert (response.status, await response.text()) == (200, "{}")
    assert await client.closed() == 4009
    await other.ping()


async def test_no_name_of_a_public_channel_reaches_a_private_one(site: Site) -> None:
    """Each prefix of a public name, with each start of a channel that has meaning here."""
    secrets = ["job.7", "encrypted.a", "server-to-user.42", "user-42", "cache-a"]
    names = [
        prefix + start + secret
        for prefix in ("", "cache-", "public.", "public-", "Private-", "private", "encrypted-")
        for start in ("", "public.", "encrypted.", "presence.", "server-to-user.", "#", "user-")
        for secret in secrets
    ]
    clients = []
    for at in range(0, len(names), 90):  # a connection has up to 100 channels
        client = await connect_pusher(site)
        clients.append(client)
        for name in names[at : at + 90]:
            await client.request(name)
            while (frame := await client.frame())["event"] == "pusher:cache_miss":
                pass
            accepted = frame["event"] == "pusher_internal:subscription_succeeded"
            assert accepted == _is_served(name), name
    for secret in secrets:
        await site.bridge.publish(check_event_channel(secret), "secret")
    for client in clients:
        await client.send("pusher:ping", {})
        assert (await client.frame())["event"] in ("pusher:pong", "pusher:cache_miss")


def _is_served(name: str) -> bool:
    try:
        return decode_name(name).startswith("public.")
    except ChannelNameError:
        return False


async def test_bridge_without_the_door_has_no_routes(serve: Serve) -> None:
    site = await serve()
    assert (await call(site, "POST", EVENTS, event()))[0] == 404
    with pytest.raises(Exception, match="404"):
        await connect_pusher(site)
    with pytest.raises(Exception, match="REALTIME_PUSHER_DOOR"):
        _ = site.bridge.pusher_door


@pytest.mark.parametrize("name", ["APP_ID", "KEY", "SECRET"])
def test_missing_credentials_are_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(f"REALTIME_PUSHER_{name}")
    with pytest.raises(Exception, match=f"REALTIME_PUSHER_{name}: it is not set"):
        make_bridge(pusher_door=True)


def test_short_secret_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_PUSHER_SECRET", "guess me")
    with pytest.raises(ConfigurationError, match="8 bytes are too short, use at least 16") as error:
        make_bridge(pusher_door=True)
    assert "guess me" not in str(error.value)
