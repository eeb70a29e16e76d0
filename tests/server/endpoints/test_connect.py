"""Tests of the descriptor, CORS, CSRF and the routes."""

import time
from typing import Any

import pytest
from aiohttp import ClientResponse

from realtime_bridge.server import Bridge
from tests.server.harness import SECRET, Frame, Serve, Site, make_bridge

LISTED = "https://listed.com"


def bridge_for_user_42() -> Bridge:
    return make_bridge(authenticate=lambda _: "42", origins=(LISTED,))


async def test_descriptor_has_all_fields(serve: Serve) -> None:
    site = await serve(bridge_for_user_42())
    status, descriptor = await site.post("connect", {"client": "c_8f"})
    assert status == 200
    principal = site.tokens.verify(descriptor.pop("token"))
    assert (principal.user, principal.client, principal.channels) == ("42", "c_8f", None)
    generation = descriptor.pop("generation")
    assert isinstance(generation, int)
    assert abs(descriptor.pop("time") - time.time() * 1_000) < 60_000
    urls = descriptor.pop("urls")
    assert {name: urls[name] for name in ("connect", "websocket", "poll", "latest")} == {
        "connect": "connect",
        "websocket": "ws",
        "poll": "poll",
        "latest": "latest",
    }
    assert descriptor == {
        "provider": "websocket",
        "mode": "realtime",
        "guarantee": "log",
        "client": "c_8f",
        "user": "42",
        "expires": 600,
        "heartbeat": 10.0,
        "max_age": None,
        "limits": {"channels": 400, "frame_bytes": 65_536, "frames_per_second": 20.0},
        "options": {},
        "control": None,
    }


async def test_descriptor_token_and_urls_are_usable(serve: Serve) -> None:
    site = await serve(bridge_for_user_42())
    _, descriptor = await site.post("connect", {})
    client = await site.open()
    welcome = await client.introduce(descriptor["token"])
    assert (welcome["user"], welcome["client"]) == ("42", descriptor["client"])
    assert (await client.subscribe("user-42"))["channel"] == "user-42"
    bearer = f"Bearer {descriptor['token']}"
    body = {"positions": {"user-42": None}}
    assert (await site.post(descriptor["urls"]["poll"], body, authorization=bearer))[0] == 200


@pytest.mark.parametrize("client", ["", None, 0])
async def test_request_without_client_id_gets_a_new_one(serve: Serve, client: object) -> None:
    site = await serve(bridge_for_user_42())
    _, descriptor = await site.post("connect", {"client": client})
    assert descriptor["client"].startswith("c_")


@pytest.mark.parametrize("client", ["a b", "x" * 65, "<script>", 7, ["c"], {"c": 1}, True])
async def test_invalid_client_id_is_rejected(serve: Serve, client: object) -> None:
    site = await serve(bridge_for_user_42())
    watcher = await site.watch()
    status, answer = await site.post("connect", {"client": client})
    assert (status, answer["error"]["code"]) == (400, "bad_client")
    await watcher.notices_nothing()


async def request(
    site: Site, method: str = "POST", route: str = "connect", **headers: str
) -> tuple[ClientResponse, Any]:
    http_headers = {name.replace("_", "-"): value for name, value in headers.items()}
    async with site.http.request(
        method,
        f"{site.url}/{route}",
        data=b"{}",
        headers=http_headers,
        skip_auto_headers=["content-type"],
    ) as answer:
        body = await answer.read()
        return answer, body


async def test_form_content_type_is_rejected(serve: Serve) -> None:
    site = await serve(bridge_for_user_42())
    for kind in ("", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer, _ = await request(site, content_type=kind)
        assert answer.status == 415
    for kind in ("application/json", "Application/JSON; charset=utf-8"):
        answer, _ = await request(site, content_type=kind)
        assert answer.status == 200


async def test_unlisted_origin_gets_no_token(serve: Serve) -> None:
    site = await serve(bridge_for_user_42())
    for origin in ("https://evil.com", "null", "http://[", f"{LISTED}.evil.com"):
        answer, body = await request(site, content_type="application/json", origin=origin)
        assert (answer.status, b"token" in body) == (403, False)
        assert "access-control-allow-origin" not in answer.headers


async def test_listed_origin_and_same_host_are_accepted(serve: Serve) -> None:
    site = await serve(bridge_for_user_42())
    response, _ = await request(site, content_type="application/json", origin=LISTED)
    assert response.status == 200
    assert response.headers["access-control-allow-origin"] == LISTED
    assert response.headers["access-control-allow-credentials"] == "true"
    assert response.headers["access-control-expose-headers"] == "retry-after"
    assert response.headers["vary"] == "origin"
    same, _ = await request(site, content_type="application/json", origin=site.origin)
    assert (same.status, same.headers.get("access-control-allow-origin")) == (200, None)


async def test_error_response_has_cors_headers_for_listed_origin(serve: Serve) -> None:
    site = await serve(bridge_for_user_42())
    answer, _ = await request(site, route="nothing", origin=LISTED)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (404, LISTED)


async def test_preflight_answers_listed_origins_only(serve: Serve) -> None:
    site = await serve(bridge_for_user_42())
    answer, _ = await request(site, "OPTIONS", origin=LISTED, access_control_request_method="POST")
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == LISTED
    for name in ("content-type", "authorization", "realtime-token"):
        assert name in answer.headers["access-control-allow-headers"]
    assert "POST" in answer.headers["access-control-allow-methods"]
    rejection, _ = await request(site, "OPTIONS", origin="https://evil.com")
    assert (rejection.status, "access-control-allow-origin" in rejection.headers) == (403, False)


async def test_responses_have_no_store_and_nosniff(serve: Serve) -> None:
    site = await serve(bridge_for_user_42())
    for route, method in (("connect", "POST"), ("health", "GET"), ("nothing", "GET")):
        answer, _ = await request(site, method, route, content_type="application/json")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_unknown_route_is_404_and_wrong_method_is_405(site: Site) -> None:
    watcher = await site.watch()
    response, body = await request(site, "GET")
    assert (response.status, response.headers["allow"], b"use POST" in body) == (405, "POST", True)
    for route in ("nothing", "", "connect/more", "%2e%2e", "ws"):
        answer, _ = await request(site, "GET", route)
        assert answer.status in (404, 405), route
    await watcher.notices_nothing()


async def test_user_in_url_is_accepted_in_development(serve: Serve) -> None:
    site = await serve(make_bridge(dev=True))
    _, descriptor = await site.post("connect?userId=test-user", {})
    assert descriptor["user"] == "test-user"
    assert (await site.post("connect", {}))[0] == 401


async def test_user_in_url_is_rejected_in_production(site: Site) -> None:
    status, answer = await site.post("connect?userId=test-user", {})
    assert (status, answer["error"]["code"]) == (401, "no_token")


async def test_responses_do_not_contain_the_secret(serve: Serve) -> None:
    site = await serve(bridge_for_user_42())
    answers: list[Frame] = [(await site.post(route, {}))[1] for route in ("connect", "poll")]
    assert SECRET not in str(answers)


async def test_user_in_url_is_rejected_under_dns_rebinding(serve: Serve) -> None:
    site = await serve(dev=True)
    rebound_headers = {"origin": "http://evil.example", "host": "evil.example"}
    status, answer = await site.post("connect?userId=7", {}, **rebound_headers)
    assert (status, answer["error"]["code"]) == (403, "not_local")
    status, _ = await site.post("connect?userId=7", {}, origin=site.origin)
    assert status == 200
