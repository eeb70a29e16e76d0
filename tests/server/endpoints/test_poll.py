"""Tests of polls, long polls and the poll cache."""

import asyncio
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_bridge.errors import BackendUnavailableError, PublishError
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import PAGE_EVENTS, Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.server.endpoints.log_cache import LogCache
from realtime_bridge.server.endpoints.poll import CALLS_AT_ONCE, call_for_each
from realtime_bridge.server.http.requested_positions import read_positions
from realtime_bridge.server.timing import ServerTiming
from realtime_bridge_backends.memory import MemoryBackend
from tests.server.fakes import FakeBackend
from tests.server.harness import TIMEOUT, Frame, Serve, Site, make_bridge, until

CHANNEL = "job.7"


async def poll_channel(site: Site, position: object = None, **more: Any) -> Frame:
    status, answer = await site.poll({CHANNEL: position}, **more)
    assert status == 200, answer
    result: Frame = answer["channels"][CHANNEL]
    return result


async def test_first_poll_returns_the_current_position(site: Site) -> None:
    await site.fill(CHANNEL, [1, 2])
    status, answer = await site.poll({CHANNEL: None})
    assert status == 200
    result = answer["channels"][CHANNEL]
    assert (result["events"], result["position"]["offset"]) == ([], 2)
    assert answer["status"] == {"log": "ok", "backend": "ok"}


async def test_poll_returns_the_events_after_its_position(serve: Serve) -> None:
    site = await serve(timing=ServerTiming(poll_cache=0.0))
    position = (await poll_channel(site))["position"]
    assert (await poll_channel(site, position))["events"] == []
    await site.fill(CHANNEL, [1, 2])
    result = await poll_channel(site, position)
    assert [event["data"] for event in result["events"]] == [1, 2]
    assert (result["position"]["offset"], result["more"]) == (2, False)


async def test_repeated_polls_return_each_event_once_in_order(serve: Serve) -> None:
    site = await serve(history_events=5_000)
    position = (await poll_channel(site))["position"]
    await site.fill(CHANNEL, range(1_200))
    received: list[int] = []
    more = True
    while more:
        result = await poll_channel(site, position)
        received += [event["data"] for event in result["events"]]
        position, more = result["position"], result["more"]
    assert received == [*range(1_200)]


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        ({"epoch": "zzzzzzzz", "offset": 2}, "epoch"),
        ({"offset": 9}, "ahead"),
        ({"offset": 4, "id": "another"}, "regressed"),
        ({"offset": 0}, "truncated"),
    ],
)
async def test_unknown_position_is_a_reset_to_the_current_one(
    serve: Serve, position: Frame, reason: str
) -> None:
    site = await serve(history_events=3)
    watcher = await site.watch()
    await site.fill(CHANNEL, range(5))
    top = (await poll_channel(site))["position"]
    result = await poll_channel(site, {"epoch": top["epoch"], **position})
    assert result == {"reset": reason, "position": top}
    await site.fill(CHANNEL, [5])
    assert [event["data"] for event in (await poll_channel(site, top))["events"]] == [5]
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


async def test_malformed_position_denies_its_channel_alone(site: Site) -> None:
    watcher = await site.watch()
    for position in MALFORMED:
        status, answer = await site.poll({"fine": None, CHANNEL: position})
        channels = answer["channels"]
        assert (status, channels[CHANNEL]["error"]["code"]) == (200, 400), position
        assert channels["fine"]["events"] == []
    await watcher.notices_nothing()


async def post_raw(site: Site, body: bytes) -> tuple[int, Frame]:
    return await site.post("poll", body, authorization=f"Bearer {site.token()}")


async def test_malformed_body_is_rejected(site: Site) -> None:
    watcher = await site.watch()
    for body, code in (
        (b"nonsense", "not_json"),
        (b"[]", "not_json"),
        (b"\xff", "not_json"),
        (b"[" * 5_000, "not_json"),
        (b"", "bad_position"),
        (b'{"positions":null}', "bad_position"),
        (b'{"positions":["job.7"]}', "bad_position"),
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
def test_arbitrary_position_is_read_or_rejected(position: object) -> None:
    read, denials = read_positions({"positions": {CHANNEL: position}}, 1)
    assert CHANNEL in denials or position is None or isinstance(read[CHANNEL], Position)


@pytest.mark.parametrize(("setting", "limit"), [(200, 200), (100, 128)])
async def test_too_many_channels_are_denied_one_by_one(
    serve: Serve, setting: int, limit: int
) -> None:
    """A client that only polls gets no descriptor: below 128 it does not know the limit."""
    site = await serve(limit_channels_per_connection=setting)
    watcher = await site.watch()
    status, answer = await site.poll({f"job.{number}": None for number in range(limit + 2)})
    codes = [one.get("error", {}).get("code") for one in answer["channels"].values()]
    assert (status, codes) == (200, [None] * limit + [429] * 2)
    await watcher.notices_nothing()


async def test_oversized_body_is_rejected(site: Site) -> None:
    watcher = await site.watch()
    status, answer = await post_raw(site, b'{"positions":{' + b" " * 300_000 + b"}}")
    assert (status, answer["error"]["code"]) == (413, "too_large")
    await watcher.notices_nothing()


async def test_poll_without_valid_token_is_401(site: Site) -> None:
    watcher = await site.watch()
    for bearer, code in (
        ("", "not_signed_in"),
        ("Basic NDI6", "not_signed_in"),
        ("Bearer ", "not_signed_in"),
        ("Bearer nonsense", "bad_token"),
        (f"Bearer {site.token(seconds=-60)}", "token_expired"),
    ):
        status, answer = await site.post("poll", {"positions": {}}, authorization=bearer)
        assert (status, answer["error"]["code"]) == (401, code), bearer
    await watcher.notices_nothing()


async def test_forbidden_channel_does_not_affect_the_others(site: Site) -> None:
    status, answer = await site.poll({"secret": None, "job.7": None}, channels=["job.*"])
    assert status == 200
    assert answer["channels"]["secret"]["error"]["code"] == 403
    assert answer["channels"]["job.7"]["events"] == []


async def test_unavailable_log_is_503_with_retry_after(
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
    async def test_long_poll_ends_with_the_next_event(self, site: Site) -> None:
        position = (await poll_channel(site))["position"]
        pending_poll = asyncio.create_task(poll_channel(site, position, wait=20))
        await until(lambda: CHANNEL in site.context.hub.fanouts)
        await site.fill(CHANNEL, [1])
        assert [event["data"] for event in (await pending_poll)["events"]] == [1]

    async def test_long_poll_behind_the_log_returns_at_once(self, site: Site) -> None:
        position = (await poll_channel(site))["position"]
        await site.fill(CHANNEL, [1])
        result = await poll_channel(site, position, wait=20)
        assert [event["data"] for event in result["events"]] == [1]

    async def test_long_poll_ends_with_an_event_during_its_read(self, serve: Serve) -> None:
        late = [Event(channel=CHANNEL, event="job.step", data=1)]

        class BusyLog(MemoryBackend):
            async def read(
                self, channel: str, after: Position, limit: int = PAGE_EVENTS
            ) -> Page | Reset:
                answer = await super().read(channel, after, limit)
                await self.append([late.pop()] if late else [])
                return answer

        site = await serve(with_log=BusyLog())
        position = (await poll_channel(site))["position"]
        async with asyncio.timeout(TIMEOUT):
            result = await poll_channel(site, position, wait=12)
        assert [event["data"] for event in result["events"]] == [1]

    async def test_long_poll_without_events_ends_empty(self, site: Site) -> None:
        position = (await poll_channel(site))["position"]
        assert (await poll_channel(site, position, wait=0.01))["events"] == []

    async def test_long_poll_ends_with_a_reset_on_new_epoch(self, site: Site) -> None:
        position = (await poll_channel(site))["position"]
        pending_poll = asyncio.create_task(poll_channel(site, position, wait=20))
        await until(lambda: CHANNEL in site.context.hub.fanouts)
        await site.context.pipeline.log.rotate_epoch(CHANNEL, position["epoch"])
        await site.fill(CHANNEL, [1])
        assert (await pending_poll)["reset"] == "epoch"

    async def test_long_poll_without_feed_is_503(self, serve: Serve) -> None:
        backend, never = FakeBackend(), asyncio.Event()
        backend.pause = never.wait  # type: ignore[assignment]  # the result does not matter
        site = await serve(with_log=backend, timing=ServerTiming(start=0.01))
        status, answer = await site.poll({CHANNEL: None}, wait=1)
        assert (status, answer["error"]["code"]) == (503, "log_unavailable")


class TestCache:
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

    async def test_polls_at_the_same_position_read_the_log_once(
        self, site: Site, reads: list[str]
    ) -> None:
        position = (await poll_channel(site))["position"]
        for _ in range(5):
            await poll_channel(site, position)
        assert len(reads) == 1

    async def test_position_without_id_is_cached_apart_from_id_none(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await site.fill(CHANNEL, [1, 2])
        epoch = (await poll_channel(site))["position"]["epoch"]
        here = {"epoch": epoch, "offset": 1}
        assert (await poll_channel(site, {**here, "id": "None"}))["reset"] == "regressed"
        assert len((await poll_channel(site, here))["events"]) == 1

    async def test_cached_result_is_not_used_after_a_later_event(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = await site.connect()
        await client.subscribe(CHANNEL)
        position = (await poll_channel(site))["position"]
        for number in range(1, 4):
            await site.fill(CHANNEL, [number])
            await client.events(1)
            result = await poll_channel(site, position)
            assert [event["data"] for event in result["events"]] == [number]
            position = result["position"]

    async def test_it_keeps_no_answer_past_its_time_or_capacity(self, site: Site) -> None:
        context = site.context
        cache = LogCache(context.pipeline, context.hub, seconds=60.0, capacity=10)
        for number in range(30):
            await cache.read(f"job.{number}", None)
        assert len(cache) == 10
        cache.expire(time.monotonic() + 60.0)
        assert not len(cache)


async def test_user_in_poll_url_is_accepted_in_development(serve: Serve) -> None:
    site = await serve(make_bridge(dev=True))
    status, answer = await site.post("poll?userId=42", {"positions": {"user-42": None}})
    assert (status, answer["channels"]["user-42"]["events"]) == (200, [])


async def test_calls_for_channels_run_together_up_to_a_limit() -> None:
    running = most = 0

    async def call(channel: str, number: int) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return f"{channel} {number}"

    numbers = {f"job.{number}": number for number in range(3 * CALLS_AT_ONCE)}
    results = await call_for_each(numbers, call)
    assert results == {name: f"{name} {number}" for name, number in numbers.items()}
    assert most == CALLS_AT_ONCE


async def test_first_error_ends_the_calls_for_other_channels() -> None:
    ended: list[str] = []

    async def call(channel: str, error: Exception | None) -> None:
        if error:
            raise error
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(channel)

    error = PublishError("full")
    with pytest.raises(PublishError) as caught:
        await call_for_each({"job.1": None, "job.2": error}, call)
    assert caught.value is error
    assert ended == ["job.1"]
