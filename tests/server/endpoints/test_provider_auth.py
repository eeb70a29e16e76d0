"""Tests of hosted providers: descriptor, authorization, signal mode and failover."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import pytest

from realtime_bridge.backend.hosted import AuthorizationRequest, HostedBackend
from realtime_bridge.backend.push import PushLimits
from realtime_bridge.errors import AuthRequestError, BackendUnavailableError, ConfigurationError
from realtime_bridge.model.event import Event
from realtime_bridge.protocol.session.timing import SessionTiming
from realtime_bridge.publishing import pipeline
from realtime_bridge.publishing.failover import CHANNEL
from realtime_bridge.server.auth.revocations import UNTIL_RESTART, control_channel
from realtime_bridge.server.lifecycle.provider_revocation import REVOKED
from realtime_bridge.server.timing import ServerTiming
from realtime_bridge.settings import Settings
from tests.conftest import DeclareBackends
from tests.server.harness import Frame, Serve, Site, context_of, make_bridge, until

FORM = {"content-type": "application/x-www-form-urlencoded"}


class Postal(HostedBackend):
    """Provider that records the pushed events."""

    provider = "postal"
    options: ClassVar[Mapping[str, Any]] = {"office": "main"}
    limits = PushLimits(event_bytes=1_000, events=1, channels=1)
    pushed: ClassVar[list[Event]] = []
    failure: ClassVar[Exception | None] = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        cls.pushed.clear()
        cls.failure = None
        return cls()

    async def push(self, events: Sequence[Event]) -> None:
        if self.failure:
            raise self.failure
        self.pushed.extend(events)

    async def authorize(
        self, fields: Mapping[str, str], request: AuthorizationRequest
    ) -> Mapping[str, Any] | None:
        if "channel" not in fields:
            raise AuthRequestError("Send the channel")
        if not await request.allow(fields["channel"]):
            return None
        return {"stamp": f"{request.user} {fields['channel']}"}


@pytest.fixture(autouse=True)
def install_postal(declare_backends: DeclareBackends) -> None:
    declare_backends({"postal": f"{__name__}:Postal"})


async def get_descriptor(site: Site) -> Frame:
    status, answer = await site.post("connect", {}, authorization=f"Bearer {site.token()}")
    assert status == 200
    return answer


async def post_auth(site: Site, body: bytes, *channels: str, **headers: str) -> tuple[int, Frame]:
    bearer = f"Bearer {site.token('42', *channels)}"
    return await site.post("auth/postal", body, authorization=bearer, **FORM, **headers)


async def test_descriptor_has_provider_and_options(serve: Serve) -> None:
    answer = await get_descriptor(await serve(backend="postal", log="memory"))
    assert answer["provider"] == "postal"
    assert answer["options"] == {"office": "main"}
    assert answer["urls"]["auth"] == "auth/postal"
    assert answer["control"] == control_channel("42")
    assert answer["guarantee"] == "log"


async def test_published_event_is_pushed_with_its_position(
    serve: Serve,
) -> None:
    site = await serve(backend="postal", log="memory")
    receipt = await site.bridge.publish("job.7", "job.step", 1)
    assert [event.position for event in Postal.pushed] == [receipt.position]
    status, answer = await site.poll({"job.7": None})
    assert (status, answer["channels"]["job.7"]["position"]["offset"]) == (200, 1)


async def test_worker_with_log_in_the_server_has_no_backend() -> None:
    parts = pipeline.worker_pipeline(Settings(backend="postal", log="memory"))
    assert str(parts.log).startswith("the server at ")
    assert parts.backend is None


async def test_authorization_follows_the_channel_rules(serve: Serve) -> None:
    site = await serve(backend="postal", log="memory")
    assert await post_auth(site, b"channel=job.7", "job.*") == (200, {"stamp": "42 job.7"})
    assert await post_auth(site, b"channel=user-42", "job.*") == (200, {"stamp": "42 user-42"})
    status, answer = await post_auth(site, b"channel=other", "job.*")
    assert (status, answer["error"]["code"]) == (403, "forbidden")


async def test_authorization_accepts_json(serve: Serve) -> None:
    site = await serve(backend="postal", log="memory")
    bearer = f"Bearer {site.token()}"
    answer = await site.post("auth/postal", {"channel": "a"}, authorization=bearer)
    assert answer == (200, {"stamp": "42 a"})


async def test_malformed_authorization_request_is_400(serve: Serve) -> None:
    site = await serve(backend="postal", log="memory")
    status, answer = await post_auth(site, b"")
    assert (status, answer["error"]) == (
        400,
        {"code": "bad_request", "message": "Send the channel"},
    )
    assert (await post_auth(site, b"\xff\xfe"))[0] == 400


async def test_authorization_with_failing_rule_is_500(serve: Serve) -> None:
    bridge = make_bridge(backend="postal", log="memory")

    @bridge.channel("job.{job_id}")
    def may_watch(user: str, job_id: str) -> bool:
        raise ValueError(job_id)

    status, answer = await post_auth(await serve(bridge), b"channel=job.7", "nothing")
    assert (status, answer["error"]["code"]) == (500, "rule_failed")


async def test_authorization_needs_identity_and_allowed_origin(
    serve: Serve,
) -> None:
    site = await serve(backend="postal", log="memory")
    status, _ = await site.post("auth/postal", b"channel=user-42", **FORM)
    assert status == 401
    status, answer = await post_auth(site, b"channel=user-42", origin="https://evil.example")
    assert (status, answer["error"]["code"]) == (403, "bad_origin")


async def test_unconfigured_provider_has_no_route(serve: Serve) -> None:
    status, _ = await (await serve()).post("auth/postal", {})
    assert status == 404


async def test_signal_mode_is_in_the_descriptor_and_a_warning(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "realtime_bridge.publishing"):
        site = await serve(backend="postal")
    assert "postal has no log" in caplog.text
    assert (await get_descriptor(site))["guarantee"] == "signal"
    receipt = await site.bridge.publish("job.7", "job.step", 1)
    assert receipt.position is None
    assert [event.position for event in Postal.pushed] == [None]


async def test_poll_in_signal_mode_is_a_reset(serve: Serve) -> None:
    site = await serve(backend="postal", log="none")
    _, answer = await site.poll({"user-42": None})
    assert answer["channels"] == {"user-42": {"reset": "signal", "position": None}}
    assert answer["status"] == {"log": "ok", "backend": "ok"}


async def test_signal_mode_has_no_latest_sse_or_revocation(serve: Serve) -> None:
    site = await serve(backend="postal", log="none")
    bearer = {"authorization": f"Bearer {site.token()}"}
    async with site.http.get(f"{site.url}/latest?channel=user-42", headers=bearer) as answer:
        assert answer.status == 404
    status, refusal = await site.post("sse", {"positions": {"user-42": None}}, **bearer)
    assert (status, refusal["error"]["code"]) == (404, "no_log")
    with pytest.raises(ConfigurationError, match="set REALTIME_LOG"):
        await site.bridge.revoke(user="42")


FAILED_OVER: dict[str, Any] = {"backend": "postal", "log": "memory", "failover": ("websocket",)}


async def fail(site: Site) -> None:
    """Publish until the failing provider is given up for the next target."""
    Postal.failure = BackendUnavailableError("it is down")
    for _ in range(5):
        await site.bridge.publish("job.7", "job.step")


async def test_failover_raises_generation_and_changes_provider(serve: Serve) -> None:
    site = await serve(**FAILED_OVER)
    before = await get_descriptor(site)
    assert before["provider"] == "postal"
    await fail(site)
    await until(lambda: site.context.status.generation > before["generation"])
    after = await get_descriptor(site)
    assert (after["provider"], after["options"]) == ("websocket", {})
    assert (await site.poll({}))[1]["generation"] == after["generation"]
    assert (await post_auth(site, b"channel=user-42"))[0] == 200


async def test_failback_raises_generation_and_restores_provider(serve: Serve) -> None:
    site = await serve(**FAILED_OVER)
    await fail(site)
    await until(lambda: site.context.pipeline.provider is None)
    client = await site.connect()
    assert (await client.subscribe("job.7"))["offset"] == 5
    generation = site.context.status.generation
    log = site.context.pipeline.log
    await log.append([Event.internal(CHANNEL, "moved", b'{"backend":"postal"}', key="backend")])
    await until(lambda: site.context.status.generation > generation)
    assert (await get_descriptor(site))["provider"] == "postal"


async def test_open_socket_learns_of_another_generation_soon(serve: Serve) -> None:
    timing = ServerTiming(session=SessionTiming(heartbeat=3_600), generation=0.1)
    site = await serve(make_bridge(timing=timing, **FAILED_OVER))
    await fail(site)
    await until(lambda: site.context.pipeline.provider is None)
    client = await site.connect()
    log = site.context.pipeline.log
    await log.append([Event.internal(CHANNEL, "moved", b'{"backend":"postal"}', key="backend")])
    heartbeat = await client.skip_to("heartbeat")
    assert heartbeat["generation"] == site.context.status.generation
    assert heartbeat["generation"] == (await get_descriptor(site))["generation"]


def test_announcement_of_a_generation_leaves_time_to_move() -> None:
    assert ServerTiming().generation <= 3.0


@pytest.mark.parametrize(
    "change",
    [
        {"log": "none"},
        {"limit_channels_per_connection": 1},
        {"limit_frame_bytes": 2048},
        {"limit_frames_per_second": 1.0},
        {"rollout_percent": 50},
        {"path": "/other"},
    ],
)
def test_other_terms_for_clients_are_another_generation(change: dict[str, Any]) -> None:
    before = {"backend": "postal", "log": "memory"}
    deliveries = {
        context_of(make_bridge(**options)).pipeline.delivery
        for options in (before, before | change, {**before, "origins": ("https://a.example",)})
    }
    assert len(deliveries) == 2


def test_other_options_of_a_provider_are_another_generation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = context_of(make_bridge(backend="postal", log="memory")).pipeline.delivery
    monkeypatch.setattr(Postal, "options", {"office": "branch"})
    after = context_of(make_bridge(backend="postal", log="memory")).pipeline.delivery
    assert before != after


async def test_later_server_starts_on_the_active_target(serve: Serve) -> None:
    bridge = make_bridge(**FAILED_OVER)
    moved = Event.internal(CHANNEL, "moved", b'{"backend":"websocket"}', key="backend")
    await context_of(bridge).pipeline.log.append([moved])
    site = await serve(bridge)
    await until(lambda: site.context.status.generation)
    assert (await get_descriptor(site))["provider"] == "websocket"


async def test_failover_channel_is_forbidden_to_clients(serve: Serve) -> None:
    site = await serve(**FAILED_OVER)
    _, answer = await site.poll({CHANNEL: None})
    assert answer["channels"][CHANNEL]["error"]["code"] == 403


async def test_user_may_subscribe_to_the_own_control_channel_alone(serve: Serve) -> None:
    site = await serve(backend="postal", log="memory")
    own, other = (f"channel={control_channel(user)}".encode() for user in ("42", "43"))
    assert (await post_auth(site, own))[0] == 200
    assert (await post_auth(site, other))[0] == 403


@pytest.mark.parametrize(
    ("revoked", "announced"),
    [
        ({"user": "42"}, control_channel("42")),
        ({"user": "42", "channel": "job.7"}, control_channel("42")),
        ({"channel": "job.7"}, "job.7"),
    ],
)
async def test_revocation_is_announced_by_the_provider(
    serve: Serve, revoked: dict[str, str], announced: str
) -> None:
    site = await serve(backend="postal", log="memory")
    receipt = await site.bridge.revoke(**revoked)
    event = Postal.pushed[-1]
    assert (event.channel, event.event, event.data) == (announced, REVOKED, None)
    assert "programs without this library keep their channels" in receipt.remaining[0]


async def test_revocation_that_a_provider_fails_is_in_the_receipt(serve: Serve) -> None:
    site = await serve(backend="postal", log="memory")
    Postal.failure = BackendUnavailableError("it is down")
    receipt = await site.bridge.revoke(user="42")
    assert "the revocation failed (it is down)" in receipt.remaining[0]
    await until(lambda: site.context.connections.access.revocations)


async def test_revocation_without_a_provider_leaves_the_restart(serve: Serve) -> None:
    receipt = await (await serve(log="memory")).bridge.revoke(user="42")
    assert receipt.remaining == (UNTIL_RESTART,)
