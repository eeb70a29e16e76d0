"""Tests of channel rules; a channel without a rule is denied."""

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
    channel_rules = ChannelRules()
    for pattern, rule in patterns.items():
        channel_rules.add(pattern.replace("__", "."), rule)
    return channel_rules


async def test_only_own_channel_is_allowed_without_a_rule() -> None:
    allow = ChannelRules().allow
    assert await allow(ANN, "user-ann")
    for other in ("user-bob", "user-", "user-ann.x", "user-annx", "xuser-ann", "job.7", "ann"):
        assert not await allow(ANN, other)


async def test_rule_receives_user_and_holes() -> None:
    calls = []

    def may_watch(user: str, project: str, job: str) -> bool:
        calls.append((user, project, job))
        return True

    channel_rules = ChannelRules()
    channel_rules.add("project.{project}.job.{job}", may_watch)
    assert await channel_rules.allow(ANN, "project.p-1.job.7")
    assert calls == [("ann", "p-1", "7")]


@pytest.mark.parametrize(
    "channel", ["job.", "job", "job.7.log", "xjob.7", "job.7\n", "JOB.7", "job.7.", ".job.7"]
)
async def test_pattern_is_anchored_at_both_ends(channel: str) -> None:
    channel_rules = ChannelRules()
    channel_rules.add("job.{job}", lambda user, job: True)
    assert not await channel_rules.allow(ANN, channel)


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
def test_overlapping_patterns_are_rejected(one: str, other: str) -> None:
    bridge = make_bridge()
    bridge.channel(one)(lambda user, **holes: True)
    with pytest.raises(ConfigurationError, match="match the same names"):
        bridge.channel(other)(lambda user, **holes: True)


def test_rule_with_wrong_parameters_is_rejected() -> None:
    bridge = make_bridge()
    with pytest.raises(ConfigurationError, match=r"parameters \(user, job_id\)"):
        bridge.channel("job.{job_id}")(lambda user, job: True)


def test_decorator_returns_the_rule_itself() -> None:
    def may_watch(user: str, job: str) -> bool:
        return True

    assert make_bridge().channel("job.{job}")(may_watch) is may_watch


@pytest.mark.parametrize("answer", [1, "yes", ["ann"], object(), None, False, 0])
async def test_rule_result_other_than_true_denies(answer: object) -> None:
    async def later(user: str) -> object:
        return answer

    channel_rules = rules(now=lambda user: answer, later=later)
    assert not await channel_rules.allow(ANN, "now")
    assert not await channel_rules.allow(ANN, "later")


async def test_async_rule_and_awaitable_result_are_awaited() -> None:
    async def yes(user: str) -> bool:
        await asyncio.sleep(0)
        return user == "ann"

    channel_rules = rules(plain=yes, wrapped=partial(yes))
    for channel in ("plain", "wrapped"):
        assert await channel_rules.allow(ANN, channel)
        assert not await channel_rules.allow(Principal(user="bob"), channel)


async def test_sync_rule_runs_in_a_thread() -> None:
    loop_is_free = threading.Event()
    threads = []

    def slow(user: str) -> bool:
        threads.append(threading.current_thread())
        return loop_is_free.wait(10)

    task = asyncio.create_task(rules(job=slow).allow(ANN, "job"))
    await asyncio.sleep(0)
    loop_is_free.set()
    assert await task
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
async def test_token_grants_channels_without_a_rule(
    granted: tuple[str, ...], channel: str, *, allowed: bool
) -> None:
    principal = Principal(user="ann", channels=granted)
    assert await ChannelRules().allow(principal, channel) is allowed


def crash(user: str) -> bool:
    raise LookupError("the database is down")


async def test_exception_of_a_rule_is_raised() -> None:
    with pytest.raises(LookupError):
        await rules(job=crash).allow(ANN, "job")


async def test_same_rule_decides_for_all_routes(serve: Serve) -> None:
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
        assert polled["channels"][channel].get("error", {}).get("code") == (None if yes else 403)
        headers = {"authorization": f"Bearer {site.token('ann', 'nothing')}"}
        async with site.http.get(
            f"{site.url}/latest", params={"channel": channel}, headers=headers
        ) as latest:
            assert latest.status == (200 if yes else 403)


async def test_failing_rule_is_500_instead_of_403(serve: Serve) -> None:
    bridge = make_bridge()
    bridge.channel("job")(crash)
    site = await serve(bridge)
    watcher = await site.watch()
    client = await site.connect("ann", "nothing")
    await client.send("subscribe", channel="job")
    refused = await client.expect("refused")
    assert (refused["code"], refused["message"]) == (500, "The rule of job failed: try again")
    assert (await client.subscribe("user-ann"))["channel"] == "user-ann"
    _, polled = await site.poll({"job": None, "user-ann": None}, user="ann", channels=["nothing"])
    assert polled["channels"]["job"]["error"]["code"] == 500
    assert "position" in polled["channels"]["user-ann"]
    headers = {"authorization": f"Bearer {site.token('ann', 'nothing')}"}
    async with site.http.get(f"{site.url}/latest?channel=job", headers=headers) as latest:
        assert latest.status == 500
    await watcher.notices_nothing()


async def test_rule_is_called_again_on_resubscription(serve: Serve) -> None:
    allowed_users = ["ann"]
    bridge = make_bridge()
    bridge.channel("job.{job}")(lambda user, job: user in allowed_users)
    site = await serve(bridge)
    client = await site.connect("ann", "nothing")
    await client.subscribe("job.7")
    allowed_users.clear()
    await client.send("subscribe", channel="job.7")
    assert (await client.expect("refused"))["code"] == 403
    await bridge.publish("job.7", "job.step")
    await bridge.publish("user-ann", "job.step")
    assert (await client.subscribe("user-ann"))["channel"] == "user-ann"
    assert not site.context.hub.fanouts["job.7"].in_use
