"""Tests of settings of the Ably backend, authorization and revocation."""

import asyncio
import json
import uuid
from typing import Any

import jwt
import pytest
from ably import AblyRest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from realtime_bridge import BackendUnavailableError, ConfigurationError
from realtime_bridge.backend.hosted import AuthorizationRequest
from realtime_bridge.errors import AuthRequestError
from realtime_bridge.model.channel import ALPHABET
from realtime_bridge.protocol.wire.provider_names import ProviderNames
from realtime_bridge.settings import Settings
from realtime_bridge.testing.providers import LocalAbly
from realtime_bridge_backends.ably import AblyBackend
from tests.backends.ably.ably_backends import (
    Listener,
    auth_request,
    create_backend,
    positioned_event,
)


@pytest.mark.parametrize("variable", ["ENDPOINT", "CLIENT_ENDPOINT"])
@pytest.mark.parametrize("host", ["127.0.0.1:6001", "https://ably", "a b", "::1"])
def test_endpoint_with_anything_else_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, ably: LocalAbly, variable: str, host: str
) -> None:
    monkeypatch.setenv("REALTIME_ABLY_KEY", "app.key:secret")
    monkeypatch.setenv(f"REALTIME_ABLY_{variable}", host)
    with pytest.raises(ConfigurationError, match=f"REALTIME_ABLY_{variable}: write the host al"):
        AblyBackend.from_settings(Settings())
    with pytest.raises(ConfigurationError, match=f"_{variable}=.* write the host alone"):
        create_backend(ably, **{variable.lower(): host})


def test_clients_may_reach_the_server_at_another_address(ably: LocalAbly) -> None:
    outside = {"client_endpoint": "push.example.com", "client_port": 8443, "client_tls": True}
    options = create_backend(ably, **outside).options
    assert [options[name] for name in ("endpoint", "port", "tls")] == [*outside.values()]
    assert create_backend(ably, client_endpoint="push.example.com").options["port"] is None


async def test_secret_of_the_key_is_never_sent(
    ably: LocalAbly, backend: AblyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(type(ably.keys), "by_key")
    await backend.push([positioned_event(1)])
    (result,) = await backend.check()
    assert result.status == "ok"


async def test_jwt_covers_the_granted_channels_alone(ably: LocalAbly, backend: AblyBackend) -> None:
    fields = {"channels": "app:job.7 app:job.8 other:job.7 app:a/b"}
    answer = await backend.authorize(fields, auth_request(allowed=lambda name: name == "job.7"))
    assert answer is not None
    name, _, secret = ably.key.partition(":")
    claims = jwt.decode(answer["token"], secret, ["HS256"])
    assert jwt.get_unverified_header(answer["token"])["kid"] == name
    assert json.loads(claims["x-ably-capability"]) == {"app:job.7": ["subscribe"]}
    assert claims["x-ably-clientId"] == answer["clientId"] == "42"
    assert claims["exp"] - claims["iat"] == 600
    assert answer["expires"] - answer["issued"] == 600_000
    json.dumps(answer)


PRESENT = "app:@realtime.presence.job.7"


async def claims_of(
    ably: LocalAbly, backend: AblyBackend, user: str, info: dict[str, str] | None = None
) -> dict[str, Any]:
    """Return the claims of a token for a channel and its members."""

    async def describe(_: str) -> dict[str, str] | None:
        return info

    request = replace(auth_request(user, allowed=lambda name: name == "job.7"), describe=describe)
    answer = await backend.authorize({"channels": f"app:job.7 {PRESENT}"}, request)
    assert answer is not None
    if "token" not in answer:
        return dict(answer)
    return dict(jwt.decode(answer["token"], ably.key.partition(":")[2], ["HS256"]))


async def test_token_for_members_has_what_the_application_adds(
    ably: LocalAbly, backend: AblyBackend
) -> None:
    claims = await claims_of(ably, backend, "ann", {"name": "Ann"})
    expected = {"app:job.7": ["subscribe"], PRESENT: ["presence", "subscribe"]}
    assert json.loads(claims["x-ably-capability"]) == expected
    assert json.loads(claims[f"ably.channel.{PRESENT}"]) == {"name": "Ann"}
    assert f"ably.channel.{PRESENT}" not in await claims_of(ably, backend, "ann")


async def test_user_with_the_wildcard_as_id_is_present_nowhere(
    ably: LocalAbly, backend: AblyBackend
) -> None:
    claims = await claims_of(ably, backend, "*")
    assert json.loads(claims["x-ably-capability"]) == {"app:job.7": ["subscribe"]}


async def test_information_without_room_in_a_token_is_left_out(
    ably: LocalAbly, backend: AblyBackend, caplog: pytest.LogCaptureFixture
) -> None:
    request = await claims_of(ably, backend, "ann", {"about": "x" * 7_000})
    assert PRESENT in json.loads(request["capability"])
    assert "a member's information is left out" in caplog.text


async def test_token_request_covers_granted_channels_alone(
    ably: LocalAbly, backend: AblyBackend
) -> None:
    fields = {"channels": "app:job.7 app:job.8", "format": "request"}
    answer = await backend.authorize(fields, auth_request(allowed=lambda name: name == "job.7"))
    assert answer is not None
    json.dumps(answer)

    async def callback(_: Any) -> Any:
        return dict(answer)

    place = {"endpoint": "127.0.0.1", "port": ably.port, "tls": False}
    async with AblyRest(auth_callback=callback, **place) as client:
        details = await client.auth.authorize()
    assert str(details.capability) == '{"app:job.7": ["subscribe"]}'
    assert details.client_id == "42"


async def test_user_named_like_the_wildcard_gets_no_client_id(backend: AblyBackend) -> None:
    for form in ("jwt", "request"):
        fields = {"channels": "app:job.7", "format": form}
        answer = await backend.authorize(fields, auth_request("*"))
        assert answer is not None
        assert "clientId" not in answer


@pytest.mark.parametrize("count", [1, 40, 84, 200])
async def test_token_fits_into_a_url(ably: LocalAbly, backend: AblyBackend, count: int) -> None:
    names = [f"app:job.{uuid.uuid4()}" for _ in range(count)]
    answer = await backend.authorize({"channels": " ".join(names)}, auth_request())
    assert answer
    assert set(json.loads(answer["capability"])) == set(names)
    assert len(answer.get("token", "")) <= 6_144
    assert ("mac" in answer) is (count > 40)


async def test_rule_that_fails_costs_the_other_channels_nothing(backend: AblyBackend) -> None:
    async def allow(channel: str) -> bool:
        if channel == "job.8":
            raise ValueError(channel)
        return channel == "job.7"

    request = AuthorizationRequest(user="42", client="c_1", seconds=600, allow=allow)
    names = {"channels": "app:job.7 app:job.8 app:job.9"}
    answer = await backend.authorize(names, request)
    assert answer
    assert json.loads(answer["capability"]) == {"app:job.7": ["subscribe"]}
    assert answer["failed"] == ["app:job.8"]
    with pytest.raises(ValueError, match=r"job\.8"):
        await backend.authorize({"channels": "app:job.8 app:job.9"}, request)


async def test_slow_rules_of_many_channels_are_asked_together(backend: AblyBackend) -> None:
    together = asyncio.Barrier(10)

    async def allow(_: str) -> bool:
        await together.wait()
        return True

    request = AuthorizationRequest(user="42", client="c_1", seconds=600, allow=allow)
    names = " ".join(f"app:job.{n}" for n in range(10))
    async with asyncio.timeout(10):
        assert await backend.authorize({"channels": names}, request)


async def test_user_without_channels_gets_no_token(backend: AblyBackend) -> None:
    fields = {"channels": "app:job.7 other:job.7 app:* * app:"}
    assert await backend.authorize(fields, auth_request(allowed=lambda _: False)) is None


@pytest.mark.parametrize("channels", ["", "  ", " ".join(f"app:job.{n}" for n in range(201))])
async def test_number_of_requested_channels_is_limited(backend: AblyBackend, channels: str) -> None:
    with pytest.raises(AuthRequestError, match="channels"):
        await backend.authorize({"channels": channels}, auth_request())


@given(
    channel=st.from_regex(rf"[{ALPHABET}]{{1,128}}", fullmatch=True).filter(
        lambda name: not name.startswith(("private-", "presence-"))
    ),
    prefix=st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
)
def test_channel_names_at_ably_are_reversible(channel: str, prefix: str) -> None:
    names = ProviderNames(f"{prefix}:")
    name = names.encode(channel)
    assert names.decode(name) == channel
    assert name.count(":") == 1
    assert "*" not in name


@pytest.mark.parametrize("name", ["REALTIME_ABLY_KEY", "ABLY_API_KEY"])
def test_settings_accept_our_names_and_the_vendors(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "app.key:secret")
    backend = AblyBackend.from_settings(Settings())
    assert str(backend) == "Ably (main.realtime.ably.net)"
    assert backend.options == {
        "endpoint": "main",
        "port": None,
        "tls": True,
        "channel_prefix": "realtime:",
    }


def test_malformed_key_is_named_and_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_ABLY_KEY", "hush")
    with pytest.raises(
        ConfigurationError, match=r"REALTIME_ABLY_KEY.*APPID\.KEYID:SECRET"
    ) as caught:
        AblyBackend.from_settings(Settings())
    assert "hush" not in str(caught.value)


async def test_check_reports_the_capability_of_the_key(
    ably: LocalAbly, backend: AblyBackend
) -> None:
    (result,) = await backend.check()
    assert (result.check, result.status) == ("ably", "ok")
    ably.keys.capability = {"app:*": ["subscribe"]}
    (result,) = await backend.check()
    assert result.status == "failed"
    assert "does not allow publish" in result.detail
    assert result.hint is not None
    ably.keys.capability = {"app:job.7": ["publish"]}
    (result,) = await backend.check()
    assert result.status == "failed"


@pytest.mark.parametrize("revoked", [("42", None), (None, "job.7"), ("42", "job.7")])
async def test_revoked_tokens_end_their_connections(
    ably: LocalAbly,
    backend: AblyBackend,
    listener: Listener,
    revoked: tuple[str | None, str | None],
) -> None:
    ably.keys.is_revocable = True
    assert listener.client.connection.state == "connected"
    assert await backend.revoke(*revoked) == []
    await ably.until(lambda: ably.connections == 0)


async def test_key_without_revocable_tokens_is_in_the_answer(
    ably: LocalAbly, backend: AblyBackend, listener: Listener
) -> None:
    (sentence,) = await backend.revoke("42", None)
    assert "valid for up to 10 minutes" in sentence
    assert "Enable revocable tokens" in sentence
    assert ably.key.partition(":")[2] not in sentence
    assert ably.connections == 1
    (sentence,) = await backend.revoke("*", None)
    assert "no client id" in sentence


async def test_revocation_that_cannot_reach_ably_is_an_error(backend: AblyBackend) -> None:
    async with create_backend_at(1) as elsewhere:
        with pytest.raises(BackendUnavailableError):
            await elsewhere.revoke("42", None)


def create_backend_at(port: int) -> AblyBackend:
    return AblyBackend("app.key:secret", endpoint="127.0.0.1", port=port, tls=False)
