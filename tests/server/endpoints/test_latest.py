"""Tests of the latest event of each key."""

from typing import Any

import pytest

from realtime_bridge import Event
from tests.server.harness import Frame, Serve, Site, make_bridge

CHANNEL = "job.7"


async def read_latest(site: Site, **query: str) -> tuple[int, Frame]:
    headers = {"authorization": f"Bearer {site.token('42', 'job.*')}"}
    async with site.http.get(f"{site.url}/latest", params=query, headers=headers) as answer:
        assert answer.headers["cache-control"] == "no-store"
        return answer.status, await answer.json()


async def test_latest_has_one_event_per_key_and_the_position(site: Site) -> None:
    for key, data in (("a", 1), ("b", 2), ("a", 3), (None, 4)):
        await site.bridge.publish(CHANNEL, "job.step", data, key=key)
    status, answer = await read_latest(site, channel=CHANNEL)
    assert status == 200
    assert [(event["key"], event["data"]) for event in answer["events"]] == [("b", 2), ("a", 3)]
    assert (answer["position"]["offset"], answer["more"]) == (4, False)


async def test_latest_is_paged(site: Site) -> None:
    for number in range(600):
        await site.bridge.publish(CHANNEL, "job.step", number, key=str(number))
    _, first = await read_latest(site, channel=CHANNEL)
    assert (len(first["events"]), first["more"]) == (500, True)
    after = str(first["events"][-1]["offset"])
    _, second = await read_latest(site, channel=CHANNEL, after=after)
    assert (len(second["events"]), second["more"]) == (100, False)


@pytest.mark.parametrize("after", ["-1", "x", "1.5", "9" * 17, "\u0661", ""])
async def test_latest_after_malformed_offset_is_rejected(site: Site, after: str) -> None:
    status, answer = await read_latest(site, channel=CHANNEL, after=after)
    assert (status, answer["error"]["code"]) == (400, "bad_position")


async def test_latest_of_a_key_has_all_items_of_its_owner(site: Site) -> None:
    fields: dict[str, Any] = {"channel": CHANNEL, "key": "stream-m1", "attempt": "A"}
    start = Event(**fields, event="stream.started", data=None, take="always")
    parts = [Event(**fields, event="stream.part", data=[n], fold="append") for n in range(3)]
    await site.bridge.publish_many([start, *parts])
    await site.bridge.publish(CHANNEL, "job.step", 1, key="other")
    _, state = await read_latest(site, channel=CHANNEL, key="stream-m1")
    assert [(event["event"], event["data"]) for event in state["events"]] == [
        *(("stream.started", None), ("stream.part", [0, 1, 2]))
    ]
    assert (state["position"]["offset"], state["more"]) == (5, False)
    assert [event.get("fold") for event in state["events"]] == [None, "append"]
    _, general = await read_latest(site, channel=CHANNEL)
    assert [event["event"] for event in general["events"]] == ["stream.started", "job.step"]
    for key in ("a\nb", ""):
        status, answer = await read_latest(site, channel=CHANNEL, key=key)
        assert (status, answer["error"]["code"]) == (400, "bad_key")


async def test_latest_of_invalid_channel_is_rejected(site: Site) -> None:
    for query in ({}, {"channel": "job 7"}):
        status, answer = await read_latest(site, **query)
        assert (status, answer["error"]["code"]) == (400, "bad_channel")
    assert (await read_latest(site, channel="secret"))[0] == 403


async def test_latest_with_a_failing_rule_is_an_error_of_the_server(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    bridge = make_bridge()

    @bridge.channel("report.{number}")
    def rule(user: str, number: str) -> bool:
        raise RuntimeError(f"no database for {user} {number}")

    status, answer = await read_latest(await serve(bridge), channel="report.7")
    assert (status, answer["error"]["code"]) == (500, "rule_failed")
    assert "channel rule failed: channel=report.7" in caplog.text
