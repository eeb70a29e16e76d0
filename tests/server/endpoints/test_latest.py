"""Tests of the latest event of each key."""

import pytest

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
    status, answer = await read_latest(site, channel=CHANNEL, after=after or " ")
    assert (status, answer["error"]["code"]) == (400, "bad_position")


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
