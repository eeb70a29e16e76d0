"""Tests of plain event streams: requests, forms, snapshots, resets, and their ends."""

import asyncio

import pytest
from fastapi import FastAPI
from starlette.routing import Mount

from realtime_bridge.errors import BackendUnavailableError
from realtime_bridge.protocol.session.timing import SessionTiming
from realtime_bridge.server.timing import ServerTiming
from realtime_bridge_backends.memory import MemoryBackend
from tests.server.doors import call_wsgi
from tests.server.event_source import PlainStream, plain_stream
from tests.server.harness import Serve, Site, make_bridge, until

CHANNEL, OTHER = "job.7", "user-42"
QUICK = ServerTiming(restart=0.02, announcement=0.02, position_check=0.05)


async def state(site: Site, channel: str, key: str, data: object) -> None:
    await site.bridge.publish(channel, "job.state", data, key=key)


async def test_events_of_several_channels_have_the_positions_of_all(site: Site) -> None:
    async with plain_stream(site, CHANNEL, OTHER) as stream:
        assert stream.response.headers["content-type"] == "text/event-stream"
        assert "no-store" in stream.response.headers["cache-control"]
        assert stream.response.headers["x-accel-buffering"] == "no"
        await stream.opened(CHANNEL, OTHER)
        assert stream.parser.retry
        assert 2_000 <= stream.parser.retry <= 5_000
        await site.fill(CHANNEL, [{"percent": 30}])
        first = await stream.next()
        assert (first.name, first.value) == ("job.step", {"percent": 30})
        await site.fill(OTHER, ["b"])
        second = await stream.next()
        assert second.last_id.split(" ")[0] == first.last_id.split(" ")[0]
        assert [entry.partition(":")[2][:2] for entry in second.last_id.split(" ")] == ["1~", "1~"]


async def test_cut_stream_resumes_each_channel_without_gap_or_repetition(site: Site) -> None:
    async with plain_stream(site, CHANNEL, OTHER) as stream:
        last_id = await stream.opened(CHANNEL, OTHER)
    await site.fill(CHANNEL, range(3))
    await site.fill(OTHER, "ab")
    async with plain_stream(site, CHANNEL, OTHER, last_id=last_id) as stream:
        events = [await stream.next(), await stream.next()]
        assert [event.value for event in events] == [0, 1]
        # The second channel is opened later; a cut before must not lose its position.
        assert OTHER in events[0].last_id
        last_id = events[-1].last_id
    async with plain_stream(site, OTHER, CHANNEL, last_event_id=last_id) as stream:
        assert await stream.values(3) == ["a", "b", 2]


async def test_header_of_a_reconnect_wins_over_the_url(site: Site) -> None:
    async with plain_stream(site, CHANNEL) as stream:
        first = await stream.opened(CHANNEL)
        await site.fill(CHANNEL, range(3))
        assert await stream.values(3) == [0, 1, 2]
        last_id = stream.parser.last_id
    await site.fill(CHANNEL, [3])
    async with plain_stream(site, CHANNEL, last_id=last_id, last_event_id=first) as stream:
        assert (await stream.next()).value == 3


async def test_added_channel_begins_now_and_left_one_is_ignored(site: Site) -> None:
    async with plain_stream(site, CHANNEL, OTHER) as stream:
        last_id = await stream.opened(CHANNEL, OTHER)
    await site.fill(CHANNEL, ["a"])
    await site.fill("new", ["before"])
    async with plain_stream(site, CHANNEL, "new", last_id=last_id) as stream:
        assert (await stream.next()).value == "a"
        await stream.opened(CHANNEL, "new")
        await site.fill("new", ["after"])
        assert (await stream.next()).value == "after"


async def test_long_history_arrives_page_by_page(serve: Serve) -> None:
    site = await serve(history_events=5_000)
    async with plain_stream(site, CHANNEL) as stream:
        last_id = await stream.opened(CHANNEL)
    await site.fill(CHANNEL, range(1_200))
    async with plain_stream(site, CHANNEL, last_id=last_id) as stream:
        assert await stream.values(1_200) == list(range(1_200))
        await site.fill(CHANNEL, ["live"])
        assert (await stream.next()).value == "live"


async def test_text_is_sent_line_by_line(site: Site) -> None:
    async with plain_stream(site, CHANNEL, form="text") as stream:
        await stream.opened(CHANNEL)
        await site.fill(CHANNEL, ["<tr>\n  <td>7</td>\n</tr>", {"a": 1}])
        assert (await stream.next()).data == "<tr>\n  <td>7</td>\n</tr>"
        assert (await stream.next()).data == '{"a":1}'


async def test_whole_message_has_all_fields(site: Site) -> None:
    async with plain_stream(site, CHANNEL, form="event") as stream:
        await stream.opened(CHANNEL)
        await state(site, CHANNEL, "k", {"a": 1})
        message = (await stream.next()).value
        assert (message["channel"], message["key"], message["data"]) == (CHANNEL, "k", {"a": 1})


def other_digest(last_id: str) -> str:
    """Return the id of a stream that received another event there."""
    return last_id[:-1] + ("0" if last_id[-1] != "0" else "1")


class TestSnapshot:
    async def test_latest_events_come_first_then_live_ones(self, site: Site) -> None:
        for number in range(3):
            await state(site, CHANNEL, "a", number)
            await state(site, CHANNEL, "b", -number)
        async with plain_stream(site, CHANNEL, snapshot="1") as stream:
            assert await stream.values(2) == [2, -2]
            await state(site, CHANNEL, "a", 3)
            assert (await stream.next()).value == 3
            last_id = stream.parser.last_id
        await state(site, CHANNEL, "b", -3)
        async with plain_stream(site, CHANNEL, snapshot="1", last_id=last_id) as stream:
            assert (await stream.next()).value == -3

    async def test_cut_snapshot_is_sent_again(self, site: Site) -> None:
        for key in "abc":
            await state(site, CHANNEL, key, key)
        async with plain_stream(site, OTHER, CHANNEL, snapshot="1") as stream:
            events = [await stream.next() for _ in "abc"]
        places = [[entry.partition("/")[0] for entry in event.last_id.split()] for event in events]
        assert places == [[OTHER], [OTHER], [OTHER, CHANNEL]]
        last_id = events[1].last_id
        async with plain_stream(site, OTHER, CHANNEL, snapshot="1", last_id=last_id) as stream:
            assert await stream.values(3) == ["a", "b", "c"]

    async def test_snapshot_of_several_pages_is_complete(self, site: Site) -> None:
        for number in range(900):
            await state(site, CHANNEL, f"k{number}", number)
        async with plain_stream(site, CHANNEL, snapshot="1") as stream:
            assert await stream.values(900) == list(range(900))
            await state(site, CHANNEL, "k0", "new")
            assert (await stream.next()).value == "new"

    async def test_empty_channel_has_a_position_at_once(self, site: Site) -> None:
        async with plain_stream(site, CHANNEL, snapshot="1") as stream:
            assert (await stream.opened(CHANNEL)).endswith(":0")

    async def test_reset_is_followed_by_the_latest_events(self, site: Site) -> None:
        await state(site, CHANNEL, "a", 1)
        lost = f"{CHANNEL}/zzzzzzzz:4~0000"
        async with plain_stream(site, CHANNEL, snapshot="1", last_id=lost) as stream:
            reset = await stream.next()
            assert (reset.name, reset.value) == (
                "realtime-reset",
                {"channel": CHANNEL, "reason": "epoch"},
            )
            assert (await stream.next()).value == 1
            await state(site, CHANNEL, "a", 2)
            assert (await stream.next()).value == 2


class TestGaps:
    async def expect_reset(self, stream: PlainStream, reason: str) -> str:
        reset = await stream.next()
        assert (reset.name, reset.value) == (
            "realtime-reset",
            {"channel": CHANNEL, "reason": reason},
        )
        return reset.last_id

    async def test_trimmed_history_is_a_reset_and_live_events_follow(self, serve: Serve) -> None:
        site = await serve(history_events=3)
        async with plain_stream(site, CHANNEL) as stream:
            last_id = await stream.opened(CHANNEL)
        await site.fill(CHANNEL, range(10))
        async with plain_stream(site, CHANNEL, last_id=last_id) as stream:
            last_id = await self.expect_reset(stream, "truncated")
            await stream.opened(CHANNEL)
            await site.fill(CHANNEL, [10])
            assert (await stream.next()).value == 10
        async with plain_stream(site, CHANNEL, last_id=last_id) as stream:
            assert (await stream.next()).value == 10

    async def test_rotated_epoch_is_a_reset_of_the_open_stream(self, serve: Serve) -> None:
        log = MemoryBackend()
        site = await serve(make_bridge(with_log=log, timing=QUICK))
        async with plain_stream(site, CHANNEL) as stream:
            last_id = await stream.opened(CHANNEL)
            await log.rotate_epoch(CHANNEL, last_id.partition("/")[2].partition(":")[0])
            last_id = await self.expect_reset(stream, "epoch")
            await site.fill(CHANNEL, ["new"])
            assert (await stream.next()).value == "new"
        async with plain_stream(site, CHANNEL, last_id=last_id) as stream:
            assert (await stream.next()).value == "new"

    async def test_position_beyond_the_log_is_a_reset(self, site: Site) -> None:
        await site.fill(CHANNEL, range(2))
        async with plain_stream(site, CHANNEL) as stream:
            last_id = (await stream.opened(CHANNEL)).replace(":2~", ":5~")
        async with plain_stream(site, CHANNEL, last_id=last_id) as stream:
            await self.expect_reset(stream, "ahead")

    @pytest.mark.parametrize("offset", [1, 2, 3])
    async def test_other_event_at_the_position_is_a_reset(self, site: Site, offset: int) -> None:
        await site.fill(CHANNEL, range(3))
        epoch = (await site.bridge.position(CHANNEL)).epoch
        async with plain_stream(site, CHANNEL, last_id=f"{CHANNEL}/{epoch}:0") as stream:
            ids = [(await stream.next()).last_id for _ in range(3)]
        async with plain_stream(site, CHANNEL, last_id=other_digest(ids[offset - 1])) as stream:
            await self.expect_reset(stream, "regressed")
            await stream.opened(CHANNEL)
            await site.fill(CHANNEL, ["live"])
            assert (await stream.next()).value == "live"

    async def test_other_event_at_the_position_is_followed_by_a_snapshot(self, site: Site) -> None:
        await state(site, CHANNEL, "a", 1)
        async with plain_stream(site, CHANNEL) as stream:
            lost = other_digest(await stream.opened(CHANNEL))
        async with plain_stream(site, CHANNEL, snapshot="1", last_id=lost) as stream:
            await self.expect_reset(stream, "regressed")
            assert (await stream.next()).value == 1
            await state(site, CHANNEL, "a", 2)
            assert (await stream.next()).value == 2


class FailingLog(MemoryBackend):
    """Log whose reads fail for a while."""

    fails = False
    refused = 0

    async def read(self, *args: object, **options: object) -> object:  # type: ignore[override]
        self._check()
        return await super().read(*args, **options)  # type: ignore[arg-type]

    async def latest(self, *args: object, **options: object) -> object:  # type: ignore[override]
        self._check()
        return await super().latest(*args, **options)  # type: ignore[arg-type]

    def _check(self) -> None:
        if self.fails:
            self.refused += 1
            raise BackendUnavailableError("the log is down")


class TestOutage:
    async def test_reader_waits_for_the_log_and_misses_nothing(self, serve: Serve) -> None:
        log = FailingLog()
        timing = ServerTiming(restart=0.02, session=SessionTiming(heartbeat=0.02))
        site = await serve(make_bridge(with_log=log, timing=timing))
        await state(site, OTHER, "a", "latest")
        async with plain_stream(site, CHANNEL, snapshot="1") as stream:
            last_id = await stream.opened(CHANNEL)
        await site.fill(CHANNEL, range(3))
        log.fails = True
        async with plain_stream(site, CHANNEL, OTHER, snapshot="1", last_id=last_id) as stream:
            await until(lambda: log.refused > 2)
            await stream.comments(2)
            log.fails = False
            values = await stream.values(4)
            assert [value for value in values if value != "latest"] == [0, 1, 2]
            assert "latest" in values

    async def test_server_that_drains_invites_to_come_back(self, site: Site) -> None:
        watcher = await site.connect()
        drain = asyncio.create_task(site.bridge.drain())
        await watcher.skip_to("drain")
        async with plain_stream(site, CHANNEL) as stream:
            assert stream.status == 200
            assert stream.response.headers["content-type"] == "text/event-stream"
            assert await stream.ended() == []
            assert stream.parser.retry
            assert stream.parser.comments == 1
        await watcher.socket.close()
        await drain

    async def test_open_stream_ends_at_its_slot_of_a_drain(self, site: Site) -> None:
        async with plain_stream(site, CHANNEL) as stream:
            await stream.opened(CHANNEL)
            drain = asyncio.create_task(site.bridge.drain())
            assert await stream.ended() == []
            await drain

    async def test_server_that_was_not_started_invites_to_come_back(self, serve: Serve) -> None:
        bridge = make_bridge()
        site = await serve(bridge, app=FastAPI(routes=[Mount("/realtime", bridge)]))
        async with site.http.get(f"{site.url}/sse?channel={CHANNEL}") as response:
            assert response.status == 200
            lines = (await response.text()).splitlines()
        assert lines[0].startswith("retry: ")
        assert lines[1].startswith(": The bridge was not started")


class TestEnds:
    async def test_comments_keep_a_quiet_stream_open(self, serve: Serve) -> None:
        site = await serve(timing=ServerTiming(session=SessionTiming(heartbeat=0.02)))
        async with plain_stream(site, CHANNEL) as stream:
            await stream.comments(3)

    async def test_revoked_channel_ends_the_stream_and_stays_closed(self, site: Site) -> None:
        async with plain_stream(site, CHANNEL, OTHER) as stream:
            await stream.opened(CHANNEL, OTHER)
            await site.bridge.revoke(channel="unrelated")
            await site.bridge.revoke(user="43")
            await site.bridge.revoke(user="42", channel=CHANNEL)
            await stream.ended()

    async def test_revoked_user_gets_401_at_the_reconnect(self, site: Site) -> None:
        token = {"authorization": f"Bearer {site.token()}"}
        async with plain_stream(site, CHANNEL, headers=token) as stream:
            await stream.opened(CHANNEL)
            await site.bridge.revoke(user="42")
            await stream.ended()
        async with plain_stream(site, CHANNEL, headers=token) as stream:
            assert (stream.status, await stream.error()) == (401, "revoked")

    async def test_expired_token_ends_the_stream(self, serve: Serve) -> None:
        site = await serve(timing=ServerTiming(session=SessionTiming(token_skew=0.0)))
        async with plain_stream(site, CHANNEL, seconds=1.01) as stream:
            await stream.ended()
        assert site.context.connections.statistics.closed[4401] == 1

    async def test_slow_reader_is_ended_and_resumes_with_its_last_id(self, serve: Serve) -> None:
        site = await serve(
            limit_unsent_bytes=64 * 1024,
            history_events=5_000,
            history_bytes=64 * 1024 * 1024,
            send_buffer=8 * 1024,
        )
        async with plain_stream(site, CHANNEL) as stream:
            await stream.opened(CHANNEL)
            count = 0
            while site.context.registry.transports()["sse"]:
                await site.fill(CHANNEL, [[count, "x" * 50_000]])
                count += 1
                await asyncio.sleep(0)  # a publish in memory lets no other task run
            received = [event.value[0] for event in await stream.ended()]
            last_id = stream.parser.last_id
        assert received == list(range(len(received)))
        assert len(received) < count
        assert site.context.connections.statistics.slow_clients == 1
        async with plain_stream(site, CHANNEL, last_id=last_id) as stream:
            rest = await stream.values(count - len(received))
            assert [value[0] for value in rest] == list(range(len(received), count))


async def test_user_in_the_url_opens_a_stream_in_development(serve: Serve) -> None:
    site = await serve(dev=True)
    async with site.http.get(f"{site.url}/sse?userId=eve&channel=user-eve") as response:
        await PlainStream(response).opened("user-eve")


class TestRefusals:
    @pytest.mark.parametrize(
        ("query", "status", "code"),
        [
            ("", 400, "bad_channel"),
            ("channel=", 400, "bad_channel"),
            ("channel=no channel!", 400, "bad_channel"),
            ("&".join(f"channel=job.{n}" for n in range(9)), 400, "bad_channel"),
            ("channel=job.7&as=xml", 400, "bad_form"),
            ("channel=job.7&snapshot=yes", 400, "bad_snapshot"),
            ("channel=job.7&last_event_id=nonsense", 400, "bad_position"),
            ("channel=job.7&last_event_id=k3v9q2wz:1", 400, "bad_position"),
            ("channel=job.7&token=abc", 401, "not_signed_in"),
            ("channel=job.7&userId=eve", 401, "no_token"),
        ],
    )
    async def test_request_is_rejected_before_the_stream(
        self, site: Site, query: str, status: int, code: str
    ) -> None:
        async with site.http.get(f"{site.url}/sse?{query}") as response:
            stream = PlainStream(response)
            assert (stream.status, await stream.error()) == (status, code)

    async def test_one_forbidden_channel_rejects_the_request(self, serve: Serve) -> None:
        bridge = make_bridge()
        bridge.channel("job.{name}")(lambda user, name: name == "7")
        site = await serve(bridge)
        bearer = {"authorization": f"Bearer {site.tokens.issue('42')}"}
        async with plain_stream(site, CHANNEL, "job.8", headers=bearer) as stream:
            assert (stream.status, await stream.error()) == (403, "forbidden")
            assert "job.8" in await stream.response.text()
        async with plain_stream(site, CHANNEL, headers=bearer) as stream:
            assert stream.status == 200

    async def test_connections_of_one_user_are_limited(self, serve: Serve) -> None:
        site = await serve(limit_connections_per_user=2)
        await site.connect("42")
        async with plain_stream(site, CHANNEL) as stream:
            await stream.opened(CHANNEL)
            async with plain_stream(site, CHANNEL) as second:
                assert (second.status, await second.error()) == (409, "too_many_connections")
        await until(lambda: site.context.registry.users["42"] == 1)
        async with plain_stream(site, CHANNEL) as stream:
            assert stream.status == 200

    async def test_wsgi_server_holds_no_stream(self, site: Site) -> None:
        headers = {"authorization": f"Bearer {site.token()}"}
        query = f"channel={CHANNEL}"
        status, fields = await call_wsgi(site, "GET", "sse", query=query, headers=headers)
        assert (status, fields["error"]["code"]) == (501, "no_stream_here")

    async def test_hosted_provider_without_a_log_has_no_stream(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in {"APP_ID": "1", "KEY": "k", "SECRET": "s", "HOST": "127.0.0.1"}.items():
            monkeypatch.setenv(f"REALTIME_PUSHER_{name}", value)
        site = await serve(make_bridge(backend="pusher", log="none"))
        async with plain_stream(site, CHANNEL) as stream:
            assert (stream.status, await stream.error()) == (404, "no_log")

    async def test_page_of_a_listed_origin_may_read_the_stream(self, serve: Serve) -> None:
        site = await serve(origins=("https://app.example",))
        origin = {"origin": "https://app.example"}
        async with plain_stream(site, CHANNEL, headers=origin) as stream:
            assert stream.status == 200
            headers = stream.response.headers
            assert headers["access-control-allow-origin"] == "https://app.example"
            assert headers["access-control-allow-credentials"] == "true"


async def test_stream_with_another_method_is_405(site: Site) -> None:
    async with site.http.put(f"{site.url}/sse") as response:
        assert (response.status, response.headers["allow"]) == (405, "GET, POST")


async def test_mistake_in_a_log_ends_the_stream_and_is_logged(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    class BrokenLog(MemoryBackend):
        async def latest(self, *args: object, **options: object) -> object:  # type: ignore[override]
            return None

    site = await serve(make_bridge(with_log=BrokenLog()))
    async with plain_stream(site, CHANNEL, snapshot="1") as stream:
        await stream.ended()
    assert [one for one in caplog.records if one.getMessage().startswith("stream failed")]
