"""Who may listen to what: nobody, unless a rule says True."""

import asyncio
import threading
from functools import partial
from typing import Any

import pytest

from realtime_bridge.errors import ConfigurationError
from realtime_bridge.server import Principal
from realtime_bridge.server.auth.rules import ChannelRules
from tests.server.harness import Serve, make_bridge

ANN = Principal(user="ann")


def rules(**patterns: Any) -> ChannelRules:
    made = ChannelRules()
    for pattern, rule in patterns.items():
        made.add(pattern.replace("__", "."), rule)
    return made


async def test_without_a_rule_only_ones_own_channel_is_allowed() -> None:
    allow = ChannelRules().allow
    assert await allow(ANN, "user-ann")
    for other in ("user-bob", "user-", "user-ann.x", "user-annx", "xuser-ann", "job.7", "ann"):
        assert not await allow(ANN, other)


async def test_a_rule_gets_the_user_and_what_fills_the_holes() -> None:
    asked = []

    def may_watch(user: str, project: str, job: str) -> bool:
        asked.append((user, project, job))
        return True

    chosen = ChannelRules()
    chosen.add("project.{project}.job.{job}", may_watch)
    assert await chosen.allow(ANN, "project.p-1.job.7")
    assert asked == [("ann", "p-1", "7")]


@pytest.mark.parametrize(
    "channel", ["job.", "job", "job.7.log", "xjob.7", "job.7\n", "JOB.7", "job.7.", ".job.7"]
)
async def test_a_pattern_is_anchored_at_both_ends(channel: str) -> None:
    chosen = ChannelRules()
    chosen.add("job.{job}", lambda user, job: True)
    assert not await chosen.allow(ANN, channel)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("job.{job}", "job.{id}"),
        ("job.{job}", "job.all"),
        ("{kind}.7", "job.{job}"),
        ("job-{job}", "{name}"),
        ("a{x}", "{y}b"),
    ],
)
def test_two_patterns_with_names_in_common_are_refused_at_the_start(one: str, other: str) -> None:
    bridge = make_bridge()
    bridge.channel(one)(lambda user, **holes: True)
    with pytest.raises(ConfigurationError, match="names in common"):
        bridge.channel(other)(lambda user, **holes: True)


def test_a_rule_has_to_take_what_the_pattern_gives() -> None:
    bridge = make_bridge()
    with pytest.raises(ConfigurationError, match=r"has to take \(user, job_id\)"):
        bridge.channel("job.{job_id}")(lambda user, job: True)


def test_a_decorated_rule_stays_the_function_that_it_was() -> None:
    def may_watch(user: str, job: str) -> bool:
        return True

    assert make_bridge().channel("job.{job}")(may_watch) is may_watch


@pytest.mark.parametrize("answer", [1, "yes", ["ann"], object(), None, False, 0])
async def test_only_true_is_a_yes(answer: object) -> None:
    async def later(user: str) -> object:
        return answer

    chosen = rules(now=lambda user: answer, later=later)
    assert not await chosen.allow(ANN, "now")
    assert not await chosen.allow(ANN, "later")


async def test_a_rule_may_be_async_or_return_an_awaitable() -> None:
    async def yes(user: str) -> bool:
        await asyncio.sleep(0)
        return user == "ann"

    chosen = rules(plain=yes, wrapped=partial(yes))
    for channel in ("plain", "wrapped"):
        assert await chosen.allow(ANN, channel)
        assert not await chosen.allow(Principal(user="bob"), channel)


async def test_a_sync_rule_may_wait_without_holding_up_the_loop() -> None:
    loop_went_on = threading.Event()
    threads = []

    def slow(user: str) -> bool:
        threads.append(threading.current_thread())
        return loop_went_on.wait(10)

    allowed = asyncio.create_task(rules(job=slow).allow(ANN, "job"))
    await asyncio.sleep(0)
    loop_went_on.set()
    assert await allowed
    assert threads != [threading.current_thread()]


@pytest.mark.parametrize(
    ("granted", "channel", "allowed"),
    [
        (("job.*",), "job.7", True),
        (("job.*",), "job.7.log", True),
        (("job.7",), "job.7", True),
        (("job.*",), "xjob.7", False),
        (("job.7",), "job.70", False),
        (("JOB.*",), "job.7", False),
        ((), "job.7", False),
        (("*",), "anything", True),
    ],
)
async def test_a_token_may_grant_channels_that_no_rule_speaks_of(
    granted: tuple[str, ...], channel: str, *, allowed: bool
) -> None:
    principal = Principal(user="ann", channels=granted)
    assert await ChannelRules().allow(principal, channel) is allowed


def crash(user: str) -> bool:
    raise LookupError("the database is down")


async def test_a_rule_that_crashes_is_neither_yes_nor_no() -> None:
    with pytest.raises(LookupError):
        await rules(job=crash).allow(ANN, "job")


async def test_every_way_in_is_decided_by_the_same_rule(serve: Serve) -> None:
    bridge = make_bridge()
    bridge.channel("job.{job}")(lambda user, job: user == "ann" and job == "7")
    site = await serve(bridge)
    client = await site.connect("ann", "nothing")
    for channel, yes in (("job.7", True), ("job.8", False), ("user-ann", True), ("user-b", False)):
        await client.send("subscribe", channel=channel)
        answer = await client.receive()
        assert answer["type"] == ("subscribed" if yes else "refused")
        assert yes or answer["code"] == 403
        _, polled = await site.poll({channel: None}, user="ann", channels=["nothing"])
        assert (polled["channels"][channel].get("reset") == "forbidden") is not yes
        headers = {"authorization": f"Bearer {site.token('ann', 'nothing')}"}
        async with site.http.get(
            f"{site.url}/latest", params={"channel": channel}, headers=headers
        ) as latest:
            assert latest.status == (200 if yes else 403)


async def test_a_broken_rule_is_an_error_that_may_pass_and_no_refusal(serve: Serve) -> None:
    bridge = make_bridge()
    bridge.channel("job")(crash)
    site = await serve(bridge)
    watcher = await site.watch()
    client = await site.connect("ann", "nothing")
    await client.send("subscribe", channel="job")
    refused = await client.expect("refused")
    assert (refused["code"], refused["message"]) == (500, "the channel's rule failed")
    assert (await client.subscribe("user-ann"))["channel"] == "user-ann"
    _, polled = await site.poll({"job": None, "user-ann": None}, user="ann", channels=["nothing"])
    assert polled["channels"]["job"]["error"]["code"] == 500
    assert "position" in polled["channels"]["user-ann"]
    headers = {"authorization": f"Bearer {site.token('ann', 'nothing')}"}
    async with site.http.get(f"{site.url}/latest?channel=job", headers=headers) as latest:
        assert latest.status == 500
    await watcher.notices_nothing()


async def test_a_rule_is_asked_again_on_recovery(serve: Serve) -> None:
    welcome = ["ann"]
    bridge = make_bridge()
    bridge.channel("job.{job}")(lambda user, job: user in welcome)
    site = await serve(bridge)
    client = await site.connect("ann", "nothing")
    await client.subscribe("job.7")
    welcome.clear()
    await client.send("subscribe", channel="job.7")
    assert (await client.expect("refused"))["code"] == 403
    await bridge.publish("job.7", "job.step")
    await bridge.publish("user-ann", "job.step")
    assert (await client.subscribe("user-ann"))["channel"] == "user-ann"
    assert not site.context.hub.fanouts["job.7"].in_use
