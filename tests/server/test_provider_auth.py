"""A provider delivers in the server's place: the server names it, and answers its client."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import pytest

from realtime_bridge.backend.hosted import AuthorizationRequest, HostedBackend
from realtime_bridge.backend.push import PushLimits
from realtime_bridge.errors import AuthRequestError, BackendUnavailableError, ConfigurationError
from realtime_bridge.model.event import Event
from realtime_bridge.publishing import pipeline
from realtime_bridge.publishing.failover import CHANNEL
from realtime_bridge.settings import Settings
from tests.conftest import DeclareBackends
from tests.server.harness import Frame, Serve, Site, engine_of, made, until

FORM = {"content-type": "application/x-www-form-urlencoded"}


class Postal(HostedBackend):
    """A provider that keeps what it was handed, and signs by hand."""

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
def installed(declare_backends: DeclareBackends) -> None:
    declare_backends({"postal": f"{__name__}:Postal"})


async def described(site: Site) -> Frame:
    status, answer = await site.post("connect", {}, authorization=f"Bearer {site.token()}")
    assert status == 200
    return answer


async def asked(site: Site, body: bytes, *channels: str, **headers: str) -> tuple[int, Frame]:
    bearer = f"Bearer {site.token('42', *channels)}"
    return await site.post("auth/postal", body, authorization=bearer, **FORM, **headers)


async def test_the_descriptor_names_the_provider_and_what_it_needs(serve: Serve) -> None:
    answer = await described(await serve(backend="postal", log="memory"))
    assert answer["provider"] == "postal"
    assert answer["options"] == {"office": "main"}
    assert answer["urls"]["auth"] == "auth/postal"
    assert answer["guarantee"] == "log"


async def test_what_is_published_is_appended_and_then_pushed_with_its_position(
    serve: Serve,
) -> None:
    site = await serve(backend="postal", log="memory")
    receipt = await site.bridge.publish("job.7", "job.step", 1)
    assert [event.position for event in Postal.pushed] == [receipt.position]
    status, answer = await site.poll({"job.7": None})
    assert (status, answer["channels"]["job.7"]["position"]["offset"]) == (200, 1)


async def test_a_worker_whose_log_is_in_the_server_does_not_push_itself() -> None:
    parts = pipeline.worker_pipeline(Settings(backend="postal", log="memory"))
    assert str(parts.log).startswith("the server at ")
    assert parts.backend is None


async def test_the_providers_client_is_answered_by_the_channel_rules(serve: Serve) -> None:
    site = await serve(backend="postal", log="memory")
    assert await asked(site, b"channel=job.7", "job.*") == (200, {"stamp": "42 job.7"})
    assert await asked(site, b"channel=user-42", "job.*") == (200, {"stamp": "42 user-42"})
    status, answer = await asked(site, b"channel=other", "job.*")
    assert (status, answer["error"]["code"]) == (403, "forbidden")


async def test_the_providers_client_may_also_send_json(serve: Serve) -> None:
    site = await serve(backend="postal", log="memory")
    bearer = f"Bearer {site.token()}"
    answer = await site.post("auth/postal", {"channel": "a"}, authorization=bearer)
    assert answer == (200, {"stamp": "42 a"})


async def test_a_request_that_is_none_is_not_a_refusal(serve: Serve) -> None:
    site = await serve(backend="postal", log="memory")
    status, answer = await asked(site, b"")
    assert (status, answer["error"]) == (
        400,
        {"code": "bad_request", "message": "Send the channel"},
    )
    assert (await asked(site, b"\xff\xfe"))[0] == 400


async def test_a_rule_that_fails_is_neither_yes_nor_no(serve: Serve) -> None:
    bridge = made(backend="postal", log="memory")

    @bridge.channel("job.{job_id}")
    def may_watch(user: str, job_id: str) -> bool:
        raise ValueError(job_id)

    status, answer = await asked(await serve(bridge), b"channel=job.7", "nothing")
    assert (status, answer["error"]["code"]) == (500, "internal")


async def test_nobody_is_granted_anything_without_signing_in_or_from_another_site(
    serve: Serve,
) -> None:
    site = await serve(backend="postal", log="memory")
    status, _ = await site.post("auth/postal", b"channel=user-42", **FORM)
    assert status == 401
    status, answer = await asked(site, b"channel=user-42", origin="https://evil.example")
    assert (status, answer["error"]["code"]) == (403, "bad_origin")


async def test_a_provider_that_is_not_configured_has_no_door(serve: Serve) -> None:
    status, _ = await (await serve()).post("auth/postal", {})
    assert status == 404


async def test_signal_mode_is_said_in_the_descriptor_and_by_a_warning(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "realtime_bridge.publishing"):
        site = await serve(backend="postal")
    assert "postal has no log" in caplog.text
    assert (await described(site))["guarantee"] == "signal"
    receipt = await site.bridge.publish("job.7", "job.step", 1)
    assert receipt.position is None
    assert [event.position for event in Postal.pushed] == [None]


async def test_in_signal_mode_every_poll_says_that_there_may_be_a_hole(serve: Serve) -> None:
    site = await serve(backend="postal", log="none")
    _, answer = await site.poll({"user-42": None})
    assert answer["channels"] == {"user-42": {"reset": "signal", "position": None}}
    assert answer["status"] == {"log": "ok", "backend": "ok"}


async def test_in_signal_mode_nobody_is_promised_what_only_a_log_can_give(serve: Serve) -> None:
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
    """Publish so often that the provider is given up."""
    Postal.failure = BackendUnavailableError("it is down")
    for _ in range(5):
        await site.bridge.publish("job.7", "job.step")


async def test_when_the_provider_is_given_up_clients_are_told_to_come_here(serve: Serve) -> None:
    site = await serve(**FAILED_OVER)
    before = await described(site)
    assert before["provider"] == "postal"
    await fail(site)
    await until(lambda: site.engine.generation > before["generation"])
    after = await described(site)
    assert (after["provider"], after["options"]) == ("websocket", {})
    assert (await site.poll({}))[1]["generation"] == after["generation"]
    assert (await asked(site, b"channel=user-42"))[0] == 200


async def test_clients_who_are_here_are_told_when_the_provider_is_back(serve: Serve) -> None:
    site = await serve(**FAILED_OVER)
    await fail(site)
    await until(lambda: site.engine.carriers.provider is None)
    client = await site.connect()
    assert (await client.subscribe("job.7"))["offset"] == 5
    given_up = site.engine.generation
    log = site.engine.log
    back = {"backend": "postal"}
    await log.append([Event(channel=CHANNEL, event="moved", data=back, key="backend")])
    await until(lambda: site.engine.generation > given_up)
    assert (await described(site))["provider"] == "postal"


async def test_a_server_that_starts_later_begins_where_the_others_are(serve: Serve) -> None:
    bridge = made(**FAILED_OVER)
    moved = Event(channel=CHANNEL, event="moved", data={"backend": "websocket"}, key="backend")
    await engine_of(bridge).log.append([moved])
    site = await serve(bridge)
    await until(lambda: site.engine.generation)
    assert (await described(site))["provider"] == "websocket"


async def test_nobody_listens_to_what_servers_tell_each_other(serve: Serve) -> None:
    site = await serve(**FAILED_OVER)
    _, answer = await site.poll({CHANNEL: None})
    assert answer["channels"][CHANNEL] == {"reset": "forbidden", "position": None}
