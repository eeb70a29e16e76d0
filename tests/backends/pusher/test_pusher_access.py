"""Tests of settings of the Pusher backend, authorization and revocation."""

import asyncio
import hashlib
import hmac
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from websockets.asyncio.client import ClientConnection, connect

from realtime_bridge import BackendAuthError, ConfigurationError
from realtime_bridge.backend.hosted import RULES_AT_ONCE, AuthorizationRequest
from realtime_bridge.errors import AuthRequestError
from realtime_bridge.model.channel import ALPHABET
from realtime_bridge.protocol.wire.provider_names import ProviderNames
from realtime_bridge.publishing import pipeline
from realtime_bridge.settings import Settings
from realtime_bridge.testing.providers import LocalPusher
from realtime_bridge_backends.pusher import PusherBackend
from realtime_bridge_backends.pusher.backend import LONGEST_PREFIX
from tests.backends.pusher.pusher_backends import (
    Listener,
    auth_request,
    create_backend,
    positioned_event,
)


def signature(pusher: LocalPusher, text: str) -> str:
    digest = hmac.new(pusher.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    return f"{pusher.key}:{digest}"


async def test_private_subscription_is_signed(pusher: LocalPusher, backend: PusherBackend) -> None:
    fields = {"socket_id": "1.2", "channel_name": "private-app.job.7"}
    answer = await backend.authorize(fields, auth_request())
    assert answer == {"auth": signature(pusher, "1.2:private-app.job.7")}


async def test_presence_subscription_names_the_user(
    pusher: LocalPusher, backend: PusherBackend
) -> None:
    fields = {"socket_id": "1.2", "channel_name": "presence-app.job.7"}
    answer = await backend.authorize(fields, auth_request("ann"))
    assert answer is not None
    assert json.loads(answer["channel_data"]) == {"user_id": "ann"}
    answer = await backend.authorize(fields, described("ann", {"name": "Ann"}))
    assert answer is not None
    member = answer["channel_data"]
    assert json.loads(member) == {"user_id": "ann", "user_info": {"name": "Ann"}}
    assert answer["auth"] == signature(pusher, f"1.2:presence-app.job.7:{member}")
    json.dumps(answer)


def described(user: str, info: dict[str, str]) -> AuthorizationRequest:
    async def describe(_: str) -> dict[str, str]:
        return info

    return replace(auth_request(user), describe=describe)


async def test_member_over_the_limit_of_pusher_keeps_its_id(
    backend: PusherBackend, caplog: pytest.LogCaptureFixture
) -> None:
    fields = {"socket_id": "1.2", "channel_name": "presence-app.job.7"}
    answer = await backend.authorize(fields, described("ann", {"about": "x" * 1_000}))
    assert answer is not None
    assert json.loads(answer["channel_data"]) == {"user_id": "ann"}
    assert "limit=1024: return less from the presence function" in caplog.text


async def test_few_presence_functions_run_at_once(backend: PusherBackend) -> None:
    running: list[int] = []

    async def describe(channel: str) -> dict[str, str]:
        running.append(1)
        assert len(running) <= RULES_AT_ONCE
        await asyncio.sleep(0)
        running.pop()
        return {"channel": channel}

    names = " ".join(f"presence-app.job.{number}" for number in range(100))
    request = replace(auth_request("ann"), describe=describe)
    answer = await backend.authorize({"socket_id": "1.2", "channel_names": names}, request)
    assert answer is not None
    member = json.loads(answer["channels"]["presence-app.job.7"]["channel_data"])
    assert member == {"user_id": "ann", "user_info": {"channel": "job.7"}}


@pytest.mark.parametrize(
    ("user", "name"), [("a" * 129, "job.7"), ("ann", "@realtime.user.ann"), ("ann", "@realtime")]
)
async def test_presence_that_pusher_or_the_bridge_refuses_is_not_signed(
    backend: PusherBackend, user: str, name: str
) -> None:
    fields = {"socket_id": "1.2", "channel_name": f"presence-app.{name}"}
    assert await backend.authorize(fields, auth_request(user)) is None
    names = {"socket_id": "1.2", "channel_names": f"presence-app.{name}"}
    answer = await backend.authorize(names, auth_request(user))
    assert answer is not None
    assert (answer["channels"], answer["failed"]) == ({}, [])


@pytest.mark.parametrize(
    "name",
    [
        "private-other.job.7",
        "app.job.7",
        "private-app.",
        "private-app.a b",
        "",
        "#server-to-user-1",
    ],
)
async def test_foreign_channel_name_is_not_granted(backend: PusherBackend, name: str) -> None:
    assert (
        await backend.authorize({"socket_id": "1.2", "channel_name": name}, auth_request()) is None
    )


async def test_user_without_access_gets_no_signature(backend: PusherBackend) -> None:
    fields = {"socket_id": "1.2", "channel_name": "private-app.job.7"}
    assert await backend.authorize(fields, auth_request(allowed=False)) is None


async def test_many_channels_are_signed_in_one_request(
    pusher: LocalPusher, backend: PusherBackend
) -> None:
    async def allow(channel: str) -> bool:
        if channel == "job.8":
            raise ValueError(channel)
        return channel == "job.7"

    request = AuthorizationRequest(user="42", client="c_1", seconds=600, allow=allow)
    names = "private-app.job.7 private-app.job.8 private-app.job.9 private-other.job.7"
    answer = await backend.authorize({"socket_id": "1.2", "channel_names": names}, request)
    assert answer is not None
    assert answer["channels"] == {
        "private-app.job.7": {"auth": signature(pusher, "1.2:private-app.job.7")}
    }
    assert answer["failed"] == ["private-app.job.8"]
    user_data = answer["user"]["user_data"]
    assert answer["user"]["auth"] == signature(pusher, f"1.2::user::{user_data}")
    assert await backend.authorize({"socket_id": "1.2"}, request) == answer["user"]


@pytest.mark.parametrize(
    ("user", "known"), [("42", "42"), ("auth0|1", None), ("é", None), ("a" * 200, None)]
)
async def test_user_has_a_valid_id_at_pusher(
    backend: PusherBackend, user: str, known: str | None
) -> None:
    answer = await backend.authorize({"socket_id": "1.2"}, auth_request(user))
    assert answer is not None
    identity = json.loads(answer["user_data"])["id"]
    assert re.fullmatch(r"[A-Za-z0-9_=@,.;-]{1,128}", identity)
    assert known in (None, identity)


@pytest.mark.parametrize("names", ["", " ", " ".join(f"private-app.{n}" for n in range(201))])
async def test_number_of_requested_channels_is_limited(backend: PusherBackend, names: str) -> None:
    with pytest.raises(AuthRequestError, match="channel_names"):
        await backend.authorize({"socket_id": "1.2", "channel_names": names}, auth_request())


@pytest.mark.parametrize("socket_id", ["", "1", "1.2:private-app.other", "a.b"])
async def test_malformed_socket_id_is_rejected(backend: PusherBackend, socket_id: str) -> None:
    for name in ("channel_name", "channel_names"):
        fields = {"socket_id": socket_id, name: "private-app.job.7"}
        with pytest.raises(AuthRequestError, match="socket_id"):
            await backend.authorize(fields, auth_request())
    with pytest.raises(AuthRequestError, match="socket_id"):
        await backend.authorize({"socket_id": socket_id}, auth_request())


@given(
    channel=st.from_regex(rf"[{ALPHABET}]{{1,128}}", fullmatch=True).filter(
        lambda name: not name.startswith(("private-", "presence-"))
    ),
    prefix=st.from_regex(rf"[A-Za-z0-9_-]{{1,{LONGEST_PREFIX}}}", fullmatch=True),
)
def test_channel_names_at_pusher_are_reversible(channel: str, prefix: str) -> None:
    for start in (f"private-{prefix}.", f"presence-{prefix}."):
        names = ProviderNames(start)
        assert names.decode(names.encode(channel)) == channel
        assert len(names.encode(channel)) <= 164


def test_too_long_prefix_is_rejected(pusher: LocalPusher) -> None:
    with pytest.raises(ConfigurationError, match=f"Use at most {LONGEST_PREFIX}"):
        create_backend(pusher, prefix="p" * (LONGEST_PREFIX + 1))


@pytest.mark.parametrize("start", ["REALTIME_PUSHER_", "PUSHER_"])
def test_settings_accept_our_names_and_the_vendors(
    monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    for name, value in {"APP_ID": "7", "KEY": "k", "SECRET": "s", "CLUSTER": "eu"}.items():
        monkeypatch.setenv(start + name, value)
    backend = PusherBackend.from_settings(Settings())
    assert str(backend) == "Pusher (api-eu.pusher.com)"
    assert backend.options == {
        "key": "k",
        "cluster": "eu",
        "channel_prefix": "private-realtime.",
    }


@pytest.mark.parametrize(
    ("variables", "log"),
    [({}, "NoneType"), ({"REDIS_URL": "redis://127.0.0.1:1/0"}, "RedisBackend")],
)
def test_automatic_log_is_redis_if_its_url_is_set(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], log: str
) -> None:
    names = {"PUSHER_APP_ID": "7", "PUSHER_KEY": "k", "PUSHER_SECRET": "s"}
    for name, value in {**names, **variables}.items():
        monkeypatch.setenv(name, value)
    parts = pipeline.worker_pipeline(Settings(backend="pusher"))
    assert type(parts.log).__name__ == log
    assert isinstance(parts.backend, PusherBackend)


def test_bad_settings_are_named_and_redacted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REALTIME_PUSHER_APP_ID", "a b")
    monkeypatch.setenv("REALTIME_PUSHER_SECRET", "hush")
    with pytest.raises(ConfigurationError) as caught:
        PusherBackend.from_settings(Settings())
    assert "REALTIME_PUSHER_APP_ID" in str(caught.value)
    assert "REALTIME_PUSHER_KEY" in str(caught.value)
    assert "hush" not in str(caught.value)


async def test_options_name_a_host_other_than_pusher(
    pusher: LocalPusher, backend: PusherBackend
) -> None:
    assert backend.options == {
        "key": pusher.key,
        "cluster": None,
        "host": "127.0.0.1",
        "port": pusher.port,
        "tls": False,
        "channel_prefix": "private-app.",
    }


def test_browsers_may_reach_the_server_at_another_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    variables = {"APP_ID": "app", "KEY": "k", "SECRET": "s", "HOST": "soketi", "PORT": "6001"}
    for name, value in variables.items():
        monkeypatch.setenv(f"REALTIME_PUSHER_{name}", value)
    monkeypatch.setenv("REALTIME_PUSHER_TLS", "off")
    monkeypatch.setenv("REALTIME_PUSHER_CLIENT_HOST", "push.example.com")
    monkeypatch.setenv("REALTIME_PUSHER_CLIENT_TLS", "on")
    backend = PusherBackend.from_settings(Settings())
    assert str(backend) == "Pusher (soketi)"
    places = {name: backend.options[name] for name in ("host", "port", "tls")}
    assert places == {"host": "push.example.com", "port": 443, "tls": True}


@pytest.mark.parametrize("variable", ["HOST", "CLIENT_HOST"])
@pytest.mark.parametrize("host", ["127.0.0.1:6001", "http://soketi", "a b", "::1", "soketi/", "-"])
def test_host_with_anything_else_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, pusher: LocalPusher, variable: str, host: str
) -> None:
    for name, value in {"APP_ID": "7", "KEY": "k", "SECRET": "s", variable: host}.items():
        monkeypatch.setenv(f"REALTIME_PUSHER_{name}", value)
    with pytest.raises(ConfigurationError, match=f"REALTIME_PUSHER_{variable}: write the host al"):
        PusherBackend.from_settings(Settings())
    with pytest.raises(ConfigurationError, match=f"_{variable}=.* write the host alone"):
        create_backend(pusher, **{variable.lower(): host})


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "my_soketi", "push.example.com"])
def test_host_is_accepted(pusher: LocalPusher, host: str) -> None:
    assert create_backend(pusher, host=host).options["host"] == host


def test_publisher_and_browsers_have_one_cluster_by_default(pusher: LocalPusher) -> None:
    backend = create_backend(pusher, host=None, port=None, tls=True)
    assert backend.options["cluster"] == "mt1"
    assert "host" not in backend.options
    assert str(backend) == "Pusher (api-mt1.pusher.com)"


async def test_app_id_is_a_name_at_another_server_alone() -> None:
    async with LocalPusher(app_id="my-app") as pusher, create_backend(pusher) as backend:
        await backend.push([positioned_event(1)])
        assert pusher.calls == 1
        with pytest.raises(ConfigurationError, match="APP_ID is no number"):
            create_backend(pusher, host=None)


async def test_check_reports_a_reachable_app(backend: PusherBackend) -> None:
    (result,) = await backend.check()
    assert (result.check, result.status) == ("pusher", "ok")


async def sign_in(pusher: LocalPusher, backend: PusherBackend, user: str) -> ClientConnection:
    url = f"ws://127.0.0.1:{pusher.port}/app/{pusher.key}?protocol=7&client=test"
    socket = await connect(url, proxy=None)
    listener = Listener(socket)
    socket_id = json.loads((await listener.frame())["data"])["socket_id"]
    data = await backend.authorize({"socket_id": socket_id}, auth_request(user))
    await socket.send(json.dumps({"event": "pusher:signin", "data": data}))
    assert (await listener.frame())["event"] == "pusher:signin_success"
    return socket


@pytest.mark.parametrize("user", ["42", "auth0|1", "a@b.c"])
async def test_revoked_user_who_signed_in_is_disconnected(
    pusher: LocalPusher, backend: PusherBackend, listener: Listener, user: str
) -> None:
    socket, other = [await sign_in(pusher, backend, name) for name in (user, "43")]
    (sentence,) = await backend.revoke(user, None)
    assert "did not sign in keep their channels" in sentence
    async with asyncio.timeout(10):
        await socket.wait_closed()
    assert socket.close_code == 4009
    await backend.push([positioned_event(1)])
    assert (await listener.event())["offset"] == 1
    await other.close()


async def test_revoked_channel_remains_for_other_programs(
    pusher: LocalPusher, backend: PusherBackend
) -> None:
    (sentence,) = await backend.revoke(None, "job.7")
    assert "keep job.7 until they connect again" in sentence
    assert pusher.calls == 0


async def test_revocation_that_the_server_refuses_is_an_error(
    pusher: LocalPusher, backend: PusherBackend
) -> None:
    pusher.faults.status = 404
    with pytest.raises(BackendAuthError):
        await backend.revoke("42", None)
