"""Polling: positions in, events or a reset out, and nothing kept between."""

import asyncio
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_bridge.errors import BackendUnavailableError
from realtime_bridge.model.position import Position
from realtime_bridge.server.endpoints.poll import LogCache
from realtime_bridge.server.http.request import HTTPError
from realtime_bridge.server.http.requested_positions import read_positions
from realtime_bridge.server.timing import ServerTiming
from tests.server.fakes import FakeBackend
from tests.server.harness import Frame, Serve, Site, make_bridge, until

CHANNEL = "job.7"


async def polled(site: Site, position: object = None, **more: Any) -> Frame:
    status, answer = await site.poll({CHANNEL: position}, **more)
    assert status == 200, answer
    described: Frame = answer["channels"][CHANNEL]
    return described


async def test_a_first_poll_says_where_the_channel_stands(site: Site) -> None:
    await site.fill(CHANNEL, [1, 2])
    status, answer = await site.poll({CHANNEL: None})
    assert status == 200
    described = answer["channels"][CHANNEL]
    assert (described["events"], described["position"]["offset"]) == ([], 2)
    assert answer["status"] == {"log": "ok", "backend": "ok"}


async def test_poll_returns_the_events_after_its_position(serve: Serve) -> None:
    site = await serve(timing=ServerTiming(poll_cache=0.0))
    position = (await polled(site))["position"]
    assert (await polled(site, position))["events"] == []
    await site.fill(CHANNEL, [1, 2])
    described = await polled(site, position)
    assert [event["data"] for event in described["events"]] == [1, 2]
    assert (described["position"]["offset"], described["more"]) == (2, False)


async def test_polling_on_gets_every_event_once_and_in_order(serve: Serve) -> None:
    site = await serve(history_events=5_000)
    position = (await polled(site))["position"]
    await site.fill(CHANNEL, range(1_200))
    got: list[int] = []
    more = True
    while more:
        described = await polled(site, position)
        got += [event["data"] for event in described["events"]]
        position, more = described["position"], described["more"]
    assert got == [*range(1_200)]


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        ({"epoch": "zzzzzzzz", "offset": 2}, "epoch"),
        ({"offset": 9}, "ahead"),
        ({"offset": 4, "id": "another"}, "regressed"),
        ({"offset": 0}, "truncated"),
    ],
)
async def test_a_foreign_position_is_a_reset_to_go_on_from(
    serve: Serve, position: Frame, reason: str
) -> None:
    site = await serve(history_events=3)
    watcher = await site.watch()
    await site.fill(CHANNEL, range(5))
    top = (await polled(site))["position"]
    described = await polled(site, {"epoch": top["epoch"], **position})
    assert described == {"reset": reason, "position": top}
    await site.fill(CHANNEL, [5])
    assert [event["data"] for event in (await polled(site, top))["events"]] == [5]
    await watcher.notices_nothing()


MALFORMED: list[object] = [
    "k3v9q2wz:5",
    5,
    [],
    {},
    {"epoch": "k3v9q2wz"},
    {"epoch": "k3v9q2wz", "offset": -1},
    {"epoch": "k3v9q2wz", "offset": 1.5},
    {"epoch": "k3v9q2wz", "offset": True},
    {"epoch": "k3v9q2wz", "offset": 2**53},
    {"epoch": "K3V9Q2WZ", "offset": 1},
    {"epoch": "k3v9q2wz", "offset": 1, "id": 7},
    {"epoch": "k3v9q2wz", "offset": 1, "id": ""},
    {"epoch": "k3v9q2wz", "offset": 1, "id": "x" * 129},
]


async def test_a_malformed_position_is_refused_and_named(site: Site) -> None:
    watcher = await site.watch()
    for position in MALFORMED:
        status, answer = await site.poll({"fine": None, CHANNEL: position})
        assert (status, answer["error"]["code"]) == (400, "bad_position"), position
        assert answer["error"]["message"].startswith(CHANNEL)
    await watcher.notices_nothing()


async def post_raw(site: Site, body: bytes) -> tuple[int, Frame]:
    return await site.post("poll", body, authorization=f"Bearer {site.token()}")


async def test_a_malformed_body_is_refused(site: Site) -> None:
    watcher = await site.watch()
    for body, code in (
        (b"nonsense", "not_json"),
        (b"[]", "not_json"),
        (b"\xff", "not_json"),
        (b"[" * 5_000, "not_json"),
        (b"", "bad_position"),
        (b'{"positions":null}', "bad_position"),
        (b'{"positions":["job.7"]}', "bad_position"),
        (b'{"positions":{"job.7":{"epoch":"k3v9q2wz","offset":1e30}}}', "bad_position"),
        (
            b'{"positions":{"job.7":{"epoch":"k3v9q2wz","offset":' + b"9" * 30 + b"}}}",
            "bad_position",
        ),
        (b'{"positions":{"job 7":null}}', "bad_channel"),
        (b'{"positions":{"":null}}', "bad_channel"),
        (b'{"positions":{"private-job":null}}', "bad_channel"),
        (b'{"positions":{},"wait":-1}', "bad_wait"),
        (b'{"positions":{},"wait":21}', "bad_wait"),
        (b'{"positions":{},"wait":"long"}', "bad_wait"),
    ):
        status, answer = await post_raw(site, body)
        assert (status, answer["error"]["code"]) == (400, code), body
    await watcher.notices_nothing()


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=9,
)


@given(
    json | st.fixed_dictionaries({"epoch": json | st.just("k3v9q2wz"), "offset": json, "id": json})
)
@settings(max_examples=300)
def test_whatever_is_taken_for_a_position_is_one_or_is_refused(position: object) -> None:
    with suppress(HTTPError):
        read = read_positions({"positions": {CHANNEL: position}}, 1)
        assert position is None or isinstance(read[CHANNEL], Position)


async def test_too_many_channels_are_refused(site: Site) -> None:
    watcher = await site.watch()
    assert (await site.poll({f"job.{number}": None for number in range(128)}))[0] == 200
    status, answer = await site.poll({f"job.{number}": None for number in range(129)})
    assert (status, answer["error"]["code"]) == (400, "too_many_channels")
    await watcher.notices_nothing()


async def test_a_body_that_is_too_large_is_refused(site: Site) -> None:
    watcher = await site.watch()
    status, answer = await post_raw(site, b'{"positions":{' + b" " * 300_000 + b"}}")
    assert (status, answer["error"]["code"]) == (413, "too_large")
    await watcher.notices_nothing()


async def test_a_poll_needs_a_token_that_is_good(site: Site) -> None:
    watcher = await site.watch()
    for bearer, code in (
        ("", "not_signed_in"),
        ("Basic NDI6", "not_signed_in"),
        ("Bearer ", "not_signed_in"),
        ("Bearer nonsense", "bad_token"),
        (f"Bearer {site.token(seconds=-60)}", "bad_token"),
    ):
        status, answer = await site.post("poll", {"positions": {}}, authorization=bearer)
        assert (status, answer["error"]["code"]) == (401, code), bearer
    await watcher.notices_nothing()


async def test_a_channel_that_is_forbidden_does_not_forbid_the_others(site: Site) -> None:
    status, answer = await site.poll({"secret": None, "job.7": None}, channels=["job.*"])
    assert status == 200
    assert answer["channels"]["secret"] == {"reset": "forbidden", "position": None}
    assert answer["channels"]["job.7"]["events"] == []


async def test_a_log_that_is_down_is_503_and_asks_to_come_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(*_: object) -> None:
        raise BackendUnavailableError("the log is down")

    monkeypatch.setattr(site.context.pipeline.log, "positions", down)
    headers = {"authorization": f"Bearer {site.token()}", "content-type": "application/json"}
    async with site.http.post(
        f"{site.url}/poll", json={"positions": {CHANNEL: None}}, headers=headers
    ) as answer:
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")


class TestLongPolls:
    async def test_one_waits_for_an_event(self, site: Site) -> None:
        position = (await polled(site))["position"]
        waiting = asyncio.create_task(polled(site, position, wait=20))
        await until(lambda: CHANNEL in site.context.hub.fanouts)
        await site.fill(CHANNEL, [1])
        assert [event["data"] for event in (await waiting)["events"]] == [1]

    async def test_one_that_is_behind_does_not_wait(self, site: Site) -> None:
        position = (await polled(site))["position"]
        await site.fill(CHANNEL, [1])
        described = await polled(site, position, wait=20)
        assert [event["data"] for event in described["events"]] == [1]

    async def test_one_for_which_nothing_comes_ends_with_nothing(self, site: Site) -> None:
        position = (await polled(site))["position"]
        assert (await polled(site, position, wait=0.01))["events"] == []

    async def test_a_new_epoch_ends_one_with_a_reset(self, site: Site) -> None:
        position = (await polled(site))["position"]
        waiting = asyncio.create_task(polled(site, position, wait=20))
        await until(lambda: CHANNEL in site.context.hub.fanouts)
        await site.context.pipeline.log.rotate_epoch(CHANNEL, position["epoch"])
        await site.fill(CHANNEL, [1])
        assert (await waiting)["reset"] == "epoch"

    async def test_without_a_feed_it_is_503(self, serve: Serve) -> None:
        backend, never = FakeBackend(), asyncio.Event()
        backend.pause = never.wait  # type: ignore[assignment]  # the result does not matter
        site = await serve(with_log=backend, timing=ServerTiming(start=0.01))
        status, answer = await site.poll({CHANNEL: None}, wait=1)
        assert (status, answer["error"]["code"]) == (503, "log_unavailable")


class TestTheCache:
    @pytest.fixture
    async def site(self, serve: Serve) -> Site:
        return await serve(timing=ServerTiming(poll_cache=60.0))

    @pytest.fixture
    def reads(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        reads: list[str] = []
        read = site.context.pipeline.log.read

        async def counting(channel: str, *rest: Any) -> Any:
            reads.append(channel)
            return await read(channel, *rest)

        monkeypatch.setattr(site.context.pipeline.log, "read", counting)
        return reads

    async def test_the_log_is_asked_once_for_all_at_the_same_position(
        self, site: Site, reads: list[str]
    ) -> None:
        position = (await polled(site))["position"]
        for _ in range(5):
            await polled(site, position)
        assert len(reads) == 1

    async def test_a_position_without_an_id_is_another_than_one_with_the_id_none(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await site.fill(CHANNEL, [1, 2])
        epoch = (await polled(site))["position"]["epoch"]
        here = {"epoch": epoch, "offset": 1}
        assert (await polled(site, {**here, "id": "None"}))["reset"] == "regressed"
        assert len((await polled(site, here))["events"]) == 1

    async def test_an_old_answer_is_not_given_to_who_knows_more(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = await site.connect()
        await client.subscribe(CHANNEL)
        position = (await polled(site))["position"]
        for number in range(1, 4):
            await site.fill(CHANNEL, [number])
            await client.events(1)
            described = await polled(site, position)
            assert [event["data"] for event in described["events"]] == [number]
            position = described["position"]

    async def test_it_keeps_no_answer_past_its_time_or_capacity(self, site: Site) -> None:
        context = site.context
        cache = LogCache(context.pipeline, context.hub, seconds=60.0, capacity=10)
        for number in range(30):
            await cache.read(f"job.{number}", None)
        assert len(cache) == 10
        cache.expire(time.monotonic() + 60.0)
        assert not len(cache)


class TestLatest:
    async def latest(self, site: Site, **query: str) -> tuple[int, Frame]:
        headers = {"authorization": f"Bearer {site.token('42', 'job.*')}"}
        async with site.http.get(f"{site.url}/latest", params=query, headers=headers) as answer:
            assert answer.headers["cache-control"] == "no-store"
            return answer.status, await answer.json()

    async def test_it_is_the_latest_event_of_each_key_and_the_position_there(
        self, site: Site
    ) -> None:
        for key, data in (("a", 1), ("b", 2), ("a", 3), (None, 4)):
            await site.bridge.publish(CHANNEL, "job.step", data, key=key)
        status, answer = await self.latest(site, channel=CHANNEL)
        assert status == 200
        assert [(event["key"], event["data"]) for event in answer["events"]] == [("b", 2), ("a", 3)]
        assert (answer["position"]["offset"], answer["more"]) == (4, False)

    async def test_it_comes_in_pages(self, site: Site) -> None:
        for number in range(600):
            await site.bridge.publish(CHANNEL, "job.step", number, key=str(number))
        _, first = await self.latest(site, channel=CHANNEL)
        assert (len(first["events"]), first["more"]) == (500, True)
        after = str(first["events"][-1]["offset"])
        _, second = await self.latest(site, channel=CHANNEL, after=after)
        assert (len(second["events"]), second["more"]) == (100, False)

    @pytest.mark.parametrize("after", ["-1", "x", "1.5", "9" * 17, "\u0661", ""])
    async def test_a_malformed_place_is_refused(self, site: Site, after: str) -> None:
        status, answer = await self.latest(site, channel=CHANNEL, after=after or " ")
        assert (status, answer["error"]["code"]) == (400, "bad_position")

    async def test_a_bad_or_missing_channel_is_refused(self, site: Site) -> None:
        for query in ({}, {"channel": "job 7"}):
            status, answer = await self.latest(site, **query)
            assert (status, answer["error"]["code"]) == (400, "bad_channel")
        assert (await self.latest(site, channel="secret"))[0] == 403


async def test_in_development_the_url_says_who_polls(serve: Serve) -> None:
    site = await serve(make_bridge(dev=True))
    status, answer = await site.post("poll?userId=42", {"positions": {"user-42": None}})
    assert (status, answer["channels"]["user-42"]["events"]) == (200, [])
