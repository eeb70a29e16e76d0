"""Attacks and mistakes with ids of users: chosen names, types, and values that are no ids."""

import uuid
from decimal import Decimal
from typing import Any

import pytest

from realtime_bridge import user_channel
from realtime_bridge.server import Principal
from realtime_bridge.server.auth.rules import ChannelRules
from tests.server.harness import Serve, Site, make_bridge

UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("user", "channel"), [("ann.admin", "user-ann.admin"), ("ann", "user-ann"), (7, "user-7")]
)
@pytest.mark.parametrize("allowed", [True, False])
async def test_matching_rule_decides_about_the_own_channel(
    user: Any, channel: str, *, allowed: bool
) -> None:
    rules = ChannelRules()
    rules.add("user-{name}", lambda user, name: allowed)
    rules.add("user-{name}.{role}", lambda user, name, role: allowed)
    assert await rules.allow(Principal(user=user), channel) is allowed


async def test_own_channel_needs_no_rule_where_none_matches() -> None:
    rules = ChannelRules()
    rules.add("user-{name}.{role}", lambda user, name, role: False)
    assert await rules.allow(Principal(user="ann"), "user-ann")
    assert not await rules.allow(Principal(user="ann"), "user-ann.admin")


@pytest.mark.parametrize("user", ["auth0|1", "a+b@c.de", "Jörg", "a b", "a=7C"])
async def test_user_of_any_id_has_a_channel(serve: Serve, user: str) -> None:
    site = await serve(make_bridge(authenticate=lambda _: user))
    _, descriptor = await site.post("connect", {})
    channel = user_channel(user)
    assert (descriptor["user"], descriptor["channel"]) == (user, channel)
    client = await site.open()
    await client.introduce(descriptor["token"])
    await client.subscribe(channel)
    await site.bridge.publish(channel, "job.step")
    await client.events(1)
    await client.send("subscribe", channel=f"user-{user}")
    assert (await client.expect("refused"))["code"] in (400, 403)


async def test_id_that_needs_encoding_is_logged_once(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    users = iter(["auth0|1", "auth0|2", "42"])
    site = await serve(make_bridge(authenticate=lambda _: next(users)))
    answers = [(await site.post("connect", {}))[1] for _ in range(3)]
    assert [answer.get("channel") for answer in answers] == [
        "user-auth0=7C1",
        "user-auth0=7C2",
        None,
    ]
    (line,) = [message for message in caplog.messages if "user_channel(id)" in message]
    assert "user='auth0|1' channel=user-auth0=7C1" in line


async def test_id_without_a_channel_still_connects(serve: Serve) -> None:
    site = await serve(make_bridge(authenticate=lambda _: "x" * 200))
    status, descriptor = await site.post("connect", {})
    assert (status, descriptor["channel"]) == (200, None)


async def test_name_of_a_raw_id_names_the_right_form(site: Site) -> None:
    client = await site.connect("a+b", "*")
    await client.send("subscribe", channel="user-a+b")
    refused = await client.expect("refused")
    assert refused["code"] == 400
    assert "user_channel(id)" in refused["message"]


@pytest.mark.parametrize("identity", [42, -1, 2**70, UUID, "42", "ann"])
async def test_rule_gets_the_id_that_authenticate_returned(serve: Serve, identity: Any) -> None:
    bridge = make_bridge(authenticate=lambda _: identity)
    users: list[Any] = []

    @bridge.channel("job.{name}")
    def may_watch(user: Any, name: str) -> bool:
        users.append(user)
        return True

    site = await serve(bridge)
    _, descriptor = await site.post("connect", {})
    assert descriptor["user"] == str(identity)
    _, again = await site.post("connect", {}, authorization=f"Bearer {descriptor['token']}")
    client = await site.open()
    await client.introduce(again["token"])
    await client.subscribe("job.7")
    await site.post("poll", {"positions": {"job.7": None}})
    await client.send("subscribe", channel=user_channel(identity))
    await client.skip_to("subscribed")
    assert users == [identity, identity]
    assert {type(user) for user in users} == {type(identity)}


async def test_principal_may_have_any_id_of_a_user(serve: Serve) -> None:
    site = await serve(make_bridge(authenticate=lambda _: Principal(user=42, channels=("job.*",))))
    _, descriptor = await site.post("connect", {})
    principal = site.tokens.verify(descriptor["token"])
    assert (principal.user, principal.identity, principal.channels) == ("42", 42, ("job.*",))


async def test_pattern_given_as_text_is_one_pattern(site: Site) -> None:
    for principal in (
        Principal(user="ann", channels="job.*"),  # type: ignore[arg-type]
        site.tokens.verify(site.tokens.issue("ann", channels="job.*")),
    ):
        assert principal.channels == ("job.*",)
        assert not await ChannelRules().allow(principal, "secret")


class Account:
    """Object of an ORM, whose text has a secret."""

    def __str__(self) -> str:
        return "Account(password_hash=s3cret)"


@pytest.mark.parametrize(
    "identity",
    [
        True,
        Account(),
        {"id": 42, "password": "s3cret"},
        ("s3cret", 42),
        ["s3cret"],
        float("nan"),
        1.5,
        b"s3cret",
        Decimal(42),
        "a\x1b[31mb",
        "\ud800",
        "x" * 257,
    ],
    ids=lambda identity: type(identity).__name__,
)
async def test_value_that_is_no_id_is_an_error_without_the_value(
    serve: Serve, identity: Any, caplog: pytest.LogCaptureFixture
) -> None:
    site = await serve(make_bridge(authenticate=lambda _: identity))
    for route in ("connect", "poll", "connect"):
        status, answer = await site.post(route, {"positions": {}})
        assert (status, answer["error"]["code"]) == (500, "bad_identity")
        assert "s3cret" not in answer["error"]["message"]
    (line,) = caplog.messages
    assert line.startswith("authenticate failed: error=\"A user's id")
    assert "s3cret" not in caplog.text
    assert "\x1b" not in caplog.text


async def test_failing_authentication_writes_one_traceback(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def current_user(_: object) -> str:
        return next(user for user in ["ann"] if user == "bob")

    site = await serve(make_bridge(authenticate=current_user))
    for _ in range(5):
        assert (await site.post("connect", {}))[0] == 500
    assert len([record for record in caplog.records if record.exc_info]) == 1
