"""Tests that every transport gives the same answer for a channel, a token and a body."""

import asyncio
import time
from typing import Any

import jwt
import pytest

from realtime_bridge.server.auth.tokens import Tokens
from tests.server import doors
from tests.server.doors import CONTROLS, MANY, OWN, PROVIDERS
from tests.server.harness import SECRET, Serve, Site, make_bridge, until

DENIED, LATER = "denied", "later"
CHANNELS: dict[str, tuple[int, str]] = {
    # Channel: the code of our own transports, and what it means at a provider too.
    "job.7": (200, "allowed"),
    "async.7": (200, "allowed"),
    "user-42": (200, "allowed"),
    "user-42.x": (403, DENIED),
    "secret.7": (403, DENIED),
    "truthy.7": (403, DENIED),
    "nothing.has.a.rule": (403, DENIED),
    "@realtime": (403, DENIED),
    "@realtime.delivery": (403, DENIED),
    "@realtime.of.a.later.version": (403, DENIED),
    "broken.7": (500, LATER),
    "timeout.7": (500, LATER),
    "broken-async.7": (500, LATER),
    "empty.7": (500, LATER),
    "exit.7": (500, LATER),
    "cancelled.7": (500, LATER),
    "job 7": (400, DENIED),
    "": (400, DENIED),
    "jöb.7": (400, DENIED),
    "job/7": (400, DENIED),
    "job.7\n": (400, DENIED),
    "private-job.7": (400, DENIED),
    "user-a+b": (400, DENIED),
    "x" * 129: (400, DENIED),
    "x" * 2_000: (400, DENIED),
}
MEANINGS = {200: "allowed", 400: DENIED, 403: DENIED, 429: LATER, 500: LATER}


async def allow(user: str, **holes: str) -> bool:
    return True


def truthy(user: str, **holes: str) -> Any:
    return "yes"


def fail(user: str, **holes: str) -> bool:
    raise LookupError("the database is down")


def time_out(user: str, **holes: str) -> bool:
    raise TimeoutError


def leave(user: str, **holes: str) -> bool:
    raise SystemExit(user)


async def fail_later(user: str, **holes: str) -> bool:
    await asyncio.sleep(0)
    raise KeyError(user)


async def cancel(user: str, **holes: str) -> bool:
    raise asyncio.CancelledError


RULES: dict[str, Any] = {
    "job": lambda user, name: True,
    "async": allow,
    "secret": lambda user, name: False,
    "truthy": truthy,
    "broken": fail,
    "timeout": time_out,
    "broken-async": fail_later,
    "empty": lambda user, name: next(iter(())),
    "exit": leave,
    "cancelled": cancel,
}
ENVIRONMENT = {
    "PUSHER_APP_ID": "1",
    "PUSHER_KEY": "key",
    "PUSHER_SECRET": "the secret of the app",
    "PUSHER_HOST": "127.0.0.1",
    "ABLY_KEY": "app.key:secret",
}


@pytest.fixture
async def site(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Start a server with rules, and with both providers' authorization routes."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(f"REALTIME_{name}", value)
    bridge = make_bridge(backend="pusher", failover=("ably",), log="memory")
    for name, rule in RULES.items():
        bridge.channel(f"{name}.{{name}}")(rule)
        bridge.control(f"{name}.{{name}}")(rule)
    return await serve(bridge)


def plain_token(site: Site) -> str:
    return site.tokens.issue("42")


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda name: ascii(name)[:40])
async def test_every_door_answers_alike_for_a_channel(site: Site, channel: str) -> None:
    code, meaning = CHANNELS[channel]
    token = plain_token(site)
    assert {name: await door(site, token, channel) for name, door in OWN.items()} == dict.fromkeys(
        OWN, code
    )
    answers = {name: await door(site, token, channel) for name, door in CONTROLS.items()}
    assert answers == dict.fromkeys(CONTROLS, code)
    for name, door in PROVIDERS.items():
        if "ably" in name and channel.split() != [channel]:
            continue  # the names of a request to Ably are separated by blanks
        answer = await door(site, token, channel)
        assert isinstance(answer, int), name
        assert MEANINGS[answer] == meaning, name


@pytest.mark.parametrize("door", MANY)
async def test_bad_channel_costs_no_other_channel(site: Site, door: str) -> None:
    codes = {name: code for name, (code, _) in CHANNELS.items() if code != 403}
    codes["secret.7"] = 403
    assert await MANY[door](site, plain_token(site), list(codes)) == codes


@pytest.mark.parametrize("door", MANY)
async def test_channels_over_the_limit_are_denied_for_now(site: Site, door: str) -> None:
    names = [f"job.{number}" for number in range(402)]
    answers = await MANY[door](site, plain_token(site), ["job 7", *names])
    assert answers == {"job 7": 400} | {
        name: 200 if number < 400 else 429 for number, name in enumerate(names)
    }


async def test_denied_channel_is_allowed_after_its_rule_changed(serve: Serve) -> None:
    allowed: list[str] = []
    bridge = make_bridge()

    async def cancel(user: str, **holes: str) -> bool:
        raise asyncio.CancelledError

    def leave(user: str, **holes: str) -> bool:
        raise SystemExit(user)

    bridge.channel("empty.{name}")(lambda user, name: next(iter(())))
    bridge.channel("exit.{name}")(leave)
    bridge.channel("cancelled.{name}")(cancel)
    bridge.channel("job.{name}")(lambda user, name: name in allowed)
    site = await serve(bridge)
    client = await site.connect("42", "nothing")
    await client.send("subscribe", channel="job.7")
    assert (await client.expect("refused"))["code"] == 403
    token = plain_token(site)
    own = {name: door for name, door in OWN.items() if "WSGI" not in name}
    assert {await door(site, token, "job.7") for door in own.values()} == {403}
    allowed.append("7")
    assert (await client.subscribe("job.7"))["channel"] == "job.7"
    assert {await door(site, token, "job.7") for door in own.values()} == {200}


async def test_denied_channel_is_allowed_after_a_token_that_grants_it(serve: Serve) -> None:
    site = await serve()
    client = await site.connect("42", "nothing")
    await client.send("subscribe", channel="job.7")
    assert (await client.expect("refused"))["code"] == 403
    await client.send("token", token=site.token("42", "job.*"))
    assert (await client.subscribe("job.7"))["channel"] == "job.7"


def make_token(case: str) -> str:
    now = time.time()
    claims: dict[str, Any] = {
        "iss": "realtime",
        "aud": "realtime",
        "sub": "42",
        "iat": now,
        "exp": now + 600,
    }
    if case == "foreign":
        return Tokens("another secret of 32 bytes or more", issuer="realtime").issue("42")
    if case == "of another application":
        return Tokens(SECRET, issuer="other").issue("42")
    changed: dict[str, dict[str, Any]] = {
        "expired": {"exp": now - 60},
        "of a clock ahead": {"iat": now + 60},
        "of an empty user": {"sub": ""},
        "of half a character": {"sub": "\ud800"},
        "of a list": {"sub": ["42"]},
        "of no known type": {"kind": "float"},
        "of a wrong number": {"kind": "int", "sub": "ann"},
        "with a false revocation": {"rev": "now"},
        "with false channels": {"channels": "*"},
        "with false controls": {"controls": [7]},
    }
    return jwt.encode(claims | changed[case], SECRET) if case in changed else case


TOKENS = {
    "expired": "token_expired",
    "foreign": "token_unknown_key",
    "of another application": "bad_token",
    "of a clock ahead": "token_not_yet_valid",
    "of an empty user": "bad_token",
    "of half a character": "bad_token",
    "of a list": "bad_token",
    "of no known type": "bad_token",
    "of a wrong number": "bad_token",
    "with a false revocation": "bad_token",
    "with false channels": "bad_token",
    "with false controls": "bad_token",
    "nonsense": "bad_token",
}


@pytest.mark.parametrize("case", TOKENS)
async def test_every_door_refuses_a_token_alike(site: Site, case: str) -> None:
    token = make_token(case)
    every = {**OWN, **CONTROLS, **PROVIDERS}
    answers = {name: await door(site, token, "job.7") for name, door in every.items()}
    assert answers == dict.fromkeys(every, TOKENS[case])
    status, answer = await site.post("connect", {}, authorization=f"Bearer {token}")
    assert (status, answer["error"]["code"]) == (401, TOKENS[case])


async def test_every_door_refuses_a_revoked_token_alike(site: Site) -> None:
    token = plain_token(site)
    await site.bridge.revoke(user="42")
    await until(lambda: site.context.connections.access.revocations)
    every = {**OWN, **CONTROLS, **PROVIDERS}
    answers = {name: await door(site, token, "job.7") for name, door in every.items()}
    assert answers == dict.fromkeys(every, "revoked")


async def test_every_door_refuses_a_revoked_channel_alike(site: Site) -> None:
    token = plain_token(site)
    await site.bridge.revoke(user="42", channel="job.7")
    await until(lambda: site.context.connections.access.revocations)
    every = {**OWN, **CONTROLS, **PROVIDERS}
    answers = {name: await door(site, token, "job.7") for name, door in every.items()}
    assert answers == dict.fromkeys(every, 403)
    assert {await door(site, token, "job.8") for door in every.values()} == {200}


BODIES: dict[bytes, tuple[int, str]] = {
    b"nonsense": (400, "not_json"),
    b"[]": (400, "not_json"),
    b"null": (400, "not_json"),
    b'"\\ud800"': (400, "not_json"),
    b"\xff": (400, "not_json"),
    b"[" * 5_000: (400, "not_json"),
    b"{" + b" " * 300_000 + b"}": (413, "too_large"),
}


@pytest.mark.parametrize("body", BODIES, ids=lambda body: ascii(body[:12]))
async def test_every_route_refuses_an_odd_body_alike(site: Site, body: bytes) -> None:
    bearer = f"Bearer {plain_token(site)}"
    for route in ("connect", "poll", "sse", "stream/stop", "job/cancel", "job/answer"):
        status, answer = await site.post(route, body, authorization=bearer)
        assert (status, answer["error"]["code"]) == BODIES[body], route
    client = await site.connect("42")
    await client.socket.send(body)
    assert await doors.closed_with(client) == 4400


async def test_failing_rule_writes_one_traceback(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    token = plain_token(site)
    for door in OWN.values():
        assert await door(site, token, "broken.7") == 500
    lines = [record for record in caplog.records if record.exc_info]
    assert [record.getMessage() for record in lines] == [
        "channel rule failed: channel=broken.7 error='the database is down'"
    ]
