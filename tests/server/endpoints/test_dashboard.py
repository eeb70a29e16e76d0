"""Tests of the dashboard: its state, events published by hand, and who may open it."""

import asyncio
import logging
from typing import Any

import pytest

from realtime_bridge import Event
from realtime_bridge.settings import DEVELOPMENT_SECRET
from tests.server.harness import Frame, Serve, Site, make_bridge

ROUTES = ["", "dashboard.css", "dashboard.js", "dashboard/state"]
EVENT = {"channel": "job.7", "event": "job.step", "data": {"percent": 30}}


async def get(site: Site, route: str = "dashboard/state", **headers: str) -> tuple[int, Any]:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    async with site.http.get(f"{site.url}/{route}", headers=named) as response:
        is_json = response.content_type == "application/json"
        return response.status, await response.json() if is_json else await response.text()


def code_of(answer: tuple[int, Any]) -> tuple[int, str]:
    return answer[0], answer[1]["error"]["code"]


async def serve_for(serve: Serve, operator: str) -> Site:
    """Start a server whose requests are those of Ada, with this operator."""
    bridge = make_bridge(authenticate=lambda _: "ada")
    bridge.dashboard(lambda user: user == operator)
    return await serve(bridge)


async def test_page_is_not_there_without_a_rule(serve: Serve) -> None:
    site = await serve(make_bridge(authenticate=lambda _: "ada"))
    for route in ROUTES:
        assert code_of(await get(site, route)) == (404, "no_dashboard")
    assert code_of(await site.post("dashboard/publish", EVENT)) == (404, "no_dashboard")


async def test_rule_decides_who_is_an_operator(serve: Serve) -> None:
    other = await serve_for(serve, "bob")
    for route in ROUTES:
        assert code_of(await get(other, route)) == (403, "forbidden")
    assert code_of(await other.post("dashboard/publish", EVENT)) == (403, "forbidden")
    site = await serve_for(serve, "ada")
    for route in ROUTES:
        assert (await get(site, route))[0] == 200


@pytest.mark.parametrize("result", [1, "yes", None, ["ada"]])
async def test_only_true_makes_an_operator(serve: Serve, result: Any) -> None:
    bridge = make_bridge(authenticate=lambda _: "ada")

    @bridge.dashboard
    async def allow(user: str) -> bool:
        return result  # type: ignore[no-any-return]

    assert code_of(await get(await serve(bridge))) == (403, "forbidden")


async def test_failing_rule_is_no_permission(serve: Serve) -> None:
    bridge = make_bridge(authenticate=lambda _: "ada")
    bridge.dashboard(lambda _: 1 / 0 == 1)
    assert code_of(await get(await serve(bridge))) == (500, "rule_failed")


async def test_stranger_has_to_sign_in(serve: Serve) -> None:
    bridge = make_bridge(authenticate=lambda _: None)
    bridge.dashboard(lambda _: True)
    assert code_of(await get(await serve(bridge))) == (401, "not_signed_in")


@pytest.mark.parametrize("source", ["cross-site", "same-site"])
async def test_page_of_another_site_is_refused(serve: Serve, source: str) -> None:
    origin = "https://listed.example"
    bridge = make_bridge(authenticate=lambda _: "ada", origins=origin)
    bridge.dashboard(lambda _: True)
    development = make_bridge(dev=True, secret=DEVELOPMENT_SECRET)
    for site in (await serve(bridge), await serve(development)):
        headers = {"sec_fetch_site": source, "origin": origin}
        assert code_of(await get(site, **headers)) == (403, "bad_origin")
        answer = await site.post("dashboard/publish", EVENT, **headers)
        assert code_of(answer) == (403, "bad_origin")


async def test_page_of_another_origin_is_refused_by_its_origin_alone(serve: Serve) -> None:
    """A browser that opened the dashboard by plain `http` sends no `Sec-Fetch-Site`."""
    origin = "http://listed.example"
    bridge = make_bridge(authenticate=lambda _: "ada", origins=origin)
    bridge.dashboard(lambda _: True)
    site = await serve(bridge)
    assert code_of(await get(site, origin=origin)) == (403, "bad_origin")
    answer = await site.post("dashboard/publish", EVENT, origin=origin)
    assert code_of(answer) == (403, "bad_origin")
    assert (await site.post("dashboard/publish", EVENT, origin=site.origin))[0] == 200


async def test_development_server_shows_it_to_this_machine_alone(serve: Serve) -> None:
    site = await serve(dev=True)
    assert (await get(site, sec_fetch_site="none"))[0] == 200
    assert code_of(await get(site, x_forwarded_for="203.0.113.7")) == (403, "not_local")
    assert code_of(await get(site, host="attacker.example")) == (403, "not_local")


async def test_page_loads_nothing_of_another_host(serve: Serve) -> None:
    site = await serve(dev=True)
    async with site.http.get(f"{site.url}/") as response:
        policy, page = response.headers["content-security-policy"], await response.text()
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    for text in (page, (await get(site, "dashboard.css"))[1], (await get(site, "dashboard.js"))[1]):
        assert "http:" not in text
        assert "https:" not in text


async def test_state_has_connections_channels_and_counts(serve: Serve) -> None:
    site = await serve_for(serve, "ada")
    client, other = await site.connect(), await site.connect("43")
    for one in (client, other):
        await one.subscribe("job.7")
    await client.subscribe("job.8")
    status, receipt = await site.post("dashboard/publish", EVENT)
    assert (status, receipt["position"]["offset"]) == (200, 1)
    frame = await client.expect("event")
    assert (frame["channel"], frame["data"]) == ("job.7", {"percent": 30})
    _, state = await get(site)
    assert [(one["name"], one["subscribers"], one["offset"]) for one in state["channels"]] == [
        ("job.7", 2, 1),
        ("job.8", 1, 0),
    ]
    metrics = state["metrics"]
    assert metrics["connections"]["websocket"] == 2
    assert (metrics["users"][""], metrics["event_deliveries"][""]) == (2, 2)
    assert state["health"] == {
        "status": "ok",
        "log": "ok",
        "backend": "ok",
        "down_seconds": 0.0,
        "failing": [],
    }
    assert (state["dev"], state["log"]) == (False, "the memory log")


@pytest.mark.parametrize(
    "event", [{"channel": "@realtime"}, {"channel": "a b"}, {"event": ""}, {"key": 7}]
)
async def test_events_by_hand_pass_the_usual_checks(serve: Serve, event: Frame) -> None:
    site = await serve_for(serve, "ada")
    answer = await site.post("dashboard/publish", EVENT | event)
    assert code_of(answer) == (400, "invalid_event")


async def test_event_for_the_key_of_a_job_is_no_success(serve: Serve) -> None:
    site = await serve_for(serve, "ada")
    owned = Event(
        channel="job.7", event="job.progress", data={}, key="job-7", attempt="one", take="always"
    )
    await site.context.pipeline.broadcaster.publish_many([owned])
    answer = await site.post("dashboard/publish", EVENT | {"key": "job-7"})
    assert code_of(answer) == (409, "key_owned")


async def test_form_of_another_page_publishes_nothing(serve: Serve) -> None:
    site = await serve_for(serve, "ada")
    answer = await site.post("dashboard/publish", b"{}", content_type="text/plain")
    assert code_of(answer) == (415, "not_json")


async def test_warnings_are_kept_and_bounded(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    site = await serve_for(serve, "ada")
    logger = logging.getLogger("realtime_bridge.server")
    for number in range(60):
        logger.warning("something failed number=%d", number)
    logger.info("no warning")
    warnings = (await get(site))[1]["warnings"]
    assert len(warnings) == 50
    assert warnings[0]["text"] == "something failed number=59"
    logger.error("x" * 10_000)
    assert len((await get(site))[1]["warnings"][0]["text"]) == 500
    assert "something failed number=0" in caplog.text


async def test_odd_log_lines_break_neither_their_caller_nor_the_page(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = await serve_for(serve, "ada")
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logger = logging.getLogger("realtime_bridge.server")
    monkeypatch.setattr(logging.getLogger("realtime_bridge"), "propagate", False)
    logger.warning("file failed file=%s", "\udcff.db")
    logger.warning("mistake count=%d", "many")
    status, state = await get(site)
    assert status == 200
    assert [line["text"] for line in state["warnings"]] == ["file failed file=?.db"]


async def test_program_without_handlers_still_prints_warnings(
    serve: Serve, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await serve(dev=True)
    monkeypatch.setattr(logging.getLogger("realtime_bridge"), "propagate", False)
    await asyncio.to_thread(logging.getLogger("realtime_bridge.server").warning, "an outage")
    assert "an outage" in capsys.readouterr().err
