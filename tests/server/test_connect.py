"""What a client learns at run time, and who is told at all."""

from typing import Any

import pytest
from aiohttp import ClientResponse

from realtime_bridge.server import Bridge
from tests.server.harness import SECRET, Frame, Serve, Site, make_bridge

LISTED = "https://listed.com"


def signed_in() -> Bridge:
    return make_bridge(authenticate=lambda _: "42", origins=(LISTED,))


async def test_the_descriptor_says_all_that_a_client_needs(serve: Serve) -> None:
    site = await serve(signed_in())
    status, descriptor = await site.post("connect", {"client": "c_8f"})
    assert status == 200
    principal = site.tokens.verify(descriptor.pop("token"))
    assert (principal.user, principal.client, principal.channels) == ("42", "c_8f", None)
    generation = descriptor.pop("generation")
    assert isinstance(generation, int)
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
        "limits": {"channels": 128, "frame_bytes": 65_536, "frames_per_second": 20.0},
        "options": {},
    }


async def test_its_token_and_urls_work(serve: Serve) -> None:
    site = await serve(signed_in())
    _, descriptor = await site.post("connect", {})
    client = await site.open()
    welcome = await client.introduce(descriptor["token"])
    assert (welcome["user"], welcome["client"]) == ("42", descriptor["client"])
    assert (await client.subscribe("user-42"))["channel"] == "user-42"
    bearer = f"Bearer {descriptor['token']}"
    body = {"positions": {"user-42": None}}
    assert (await site.post(descriptor["urls"]["poll"], body, authorization=bearer))[0] == 200


@pytest.mark.parametrize("client", ["", None, 0])
async def test_who_brings_no_client_id_gets_one(serve: Serve, client: object) -> None:
    site = await serve(signed_in())
    _, descriptor = await site.post("connect", {"client": client})
    assert descriptor["client"].startswith("c_")


@pytest.mark.parametrize("client", ["a b", "x" * 65, "<script>", 7, ["c"], {"c": 1}, True])
async def test_a_bad_client_id_is_refused(serve: Serve, client: object) -> None:
    site = await serve(signed_in())
    watcher = await site.watch()
    status, answer = await site.post("connect", {"client": client})
    assert (status, answer["error"]["code"]) == (400, "bad_client")
    await watcher.notices_nothing()


async def ask(
    site: Site, method: str = "POST", route: str = "connect", **headers: str
) -> tuple[ClientResponse, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with site.http.request(
        method, f"{site.url}/{route}", data=b"{}", headers=named, skip_auto_headers=["content-type"]
    ) as answer:
        body = await answer.read()
        return answer, body


async def test_a_form_of_another_site_cannot_send_it(serve: Serve) -> None:
    site = await serve(signed_in())
    for kind in ("", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer, _ = await ask(site, content_type=kind)
        assert answer.status == 415
    for kind in ("application/json", "Application/JSON; charset=utf-8"):
        answer, _ = await ask(site, content_type=kind)
        assert answer.status == 200


async def test_pages_of_other_origins_are_refused_and_told_nothing(serve: Serve) -> None:
    site = await serve(signed_in())
    for origin in ("https://evil.com", "null", "http://[", f"{LISTED}.evil.com"):
        answer, body = await ask(site, content_type="application/json", origin=origin)
        assert (answer.status, b"token" in body) == (403, False)
        assert "access-control-allow-origin" not in answer.headers


async def test_pages_of_listed_origins_and_of_the_same_host_are_answered(serve: Serve) -> None:
    site = await serve(signed_in())
    listed, _ = await ask(site, content_type="application/json", origin=LISTED)
    assert listed.status == 200
    assert listed.headers["access-control-allow-origin"] == LISTED
    assert listed.headers["access-control-allow-credentials"] == "true"
    assert listed.headers["vary"] == "origin"
    same, _ = await ask(site, content_type="application/json", origin=site.origin)
    assert (same.status, same.headers.get("access-control-allow-origin")) == (200, None)


async def test_a_listed_page_may_read_errors_too(serve: Serve) -> None:
    site = await serve(signed_in())
    answer, _ = await ask(site, route="nothing", origin=LISTED)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (404, LISTED)


async def test_a_browser_that_asks_first_is_told_what_it_may_send(serve: Serve) -> None:
    site = await serve(signed_in())
    answer, _ = await ask(site, "OPTIONS", origin=LISTED, access_control_request_method="POST")
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == LISTED
    assert "content-type" in answer.headers["access-control-allow-headers"]
    assert "POST" in answer.headers["access-control-allow-methods"]
    refused, _ = await ask(site, "OPTIONS", origin="https://evil.com")
    assert (refused.status, "access-control-allow-origin" in refused.headers) == (403, False)


async def test_nothing_is_stored_by_a_cache_nor_guessed_at(serve: Serve) -> None:
    site = await serve(signed_in())
    for route, method in (("connect", "POST"), ("health", "GET"), ("nothing", "GET")):
        answer, _ = await ask(site, method, route, content_type="application/json")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_other_methods_and_routes_are_named_in_the_answer(site: Site) -> None:
    watcher = await site.watch()
    wrong, body = await ask(site, "GET")
    assert (wrong.status, wrong.headers["allow"], b"Use POST" in body) == (405, "POST", True)
    for route in ("nothing", "", "connect/more", "%2e%2e", "ws"):
        answer, _ = await ask(site, "GET", route)
        assert answer.status in (404, 405), route
    await watcher.notices_nothing()


async def test_in_development_the_url_says_who_it_is(serve: Serve) -> None:
    site = await serve(make_bridge(dev=True))
    _, descriptor = await site.post("connect?userId=test-user", {})
    assert descriptor["user"] == "test-user"
    assert (await site.post("connect", {}))[0] == 401


async def test_outside_development_a_user_in_the_url_proves_nothing(site: Site) -> None:
    status, answer = await site.post("connect?userId=test-user", {})
    assert (status, answer["error"]["code"]) == (401, "no_token")


async def test_the_secret_is_in_no_answer(serve: Serve) -> None:
    site = await serve(signed_in())
    answers: list[Frame] = [(await site.post(route, {}))[1] for route in ("connect", "poll")]
    assert SECRET not in str(answers)


async def test_a_page_that_another_host_s_name_leads_here_is_no_developer(serve: Serve) -> None:
    site = await serve(dev=True)
    rebound = {"origin": "http://evil.example", "host": "evil.example"}
    status, answer = await site.post("connect?userId=7", {}, **rebound)
    assert (status, answer["error"]["code"]) == (401, "no_token")
    status, _ = await site.post("connect?userId=7", {}, origin=site.origin)
    assert status == 200
