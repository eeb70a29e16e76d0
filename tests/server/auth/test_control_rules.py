"""Tests of control rules: who may stop the streams of a channel, and control its jobs."""

from typing import Any

import pytest

from realtime_bridge.errors import ConfigurationError
from realtime_bridge.server import Principal
from realtime_bridge.server.auth.access import ChannelAccess
from realtime_bridge.server.auth.revocations import Revocation
from realtime_bridge.server.http.request import HTTPError
from tests.server.harness import context_of, make_bridge

ANN = Principal(user="ann", issued=1.0)


def crash(user: str, **holes: str) -> bool:
    raise LookupError("the database is down")


def access(**patterns: Any) -> ChannelAccess:
    bridge = make_bridge()
    bridge.channel("job.{name}")(lambda user, name: True)
    for pattern, rule in patterns.items():
        bridge.control(pattern.replace("__", "."))(rule)
    return context_of(bridge).connections.access


async def answer(rules: ChannelAccess, principal: Principal, channel: str) -> tuple[int, str]:
    try:
        await rules.require_control(principal, channel)
    except HTTPError as error:
        return error.status, error.code
    return 200, "ok"


async def test_own_channel_alone_is_controlled_without_a_rule() -> None:
    rules = access()
    assert await answer(rules, ANN, "user-ann") == (200, "ok")
    for other in ("user-bob", "job.7", "user-ann.x", "@realtime", "@realtime.delivery"):
        assert await answer(rules, ANN, other) == (403, "may_not_control")


async def test_listening_does_not_imply_control() -> None:
    rules = access()
    assert await rules.decide(ANN, "job.7") is None
    assert await answer(rules, ANN, "job.7") == (403, "may_not_control")
    granted = Principal(user="ann", channels=("*",))
    assert await answer(rules, granted, "job.7") == (403, "may_not_control")


async def test_control_rule_receives_user_and_holes() -> None:
    calls = []

    async def may_stop(user: int, job: str) -> bool:
        calls.append((user, job))
        return job == "7"

    rules = access(**{"job__{job}": may_stop})
    seven = Principal(user="7", identity=7)
    assert await answer(rules, seven, "job.7") == (200, "ok")
    assert await answer(rules, seven, "job.8") == (403, "may_not_control")
    assert calls == [(7, "7"), (7, "8")]


async def test_truthy_answer_of_a_control_rule_denies() -> None:
    rules = access(**{"job__{job}": lambda user, job: "yes"})
    assert await answer(rules, ANN, "job.7") == (403, "may_not_control")


async def test_failing_control_rule_is_500_instead_of_403() -> None:
    rules = access(**{"job__{job}": crash})
    assert await answer(rules, ANN, "job.7") == (500, "rule_failed")


async def test_token_grants_control_without_a_rule() -> None:
    rules = access()
    granted = Principal(user="ann", controls=("job.*",))
    assert await answer(rules, granted, "job.7") == (200, "ok")
    assert await answer(rules, granted, "other.7") == (403, "may_not_control")
    assert await answer(rules, granted, "@realtime") == (403, "may_not_control")
    assert await answer(rules, Principal(user="ann", controls=("*",)), "@realtime") == (
        403,
        "may_not_control",
    )


async def test_control_of_a_malformed_channel_is_400() -> None:
    assert await answer(access(), ANN, "job 7") == (400, "bad_channel")


async def test_revoked_channel_is_not_controlled() -> None:
    rules = access(**{"job__{job}": lambda user, job: True})
    rules.revocations[Revocation(user="ann", channel="job.7")] = 2.0
    assert await answer(rules, ANN, "job.7") == (403, "may_not_control")
    assert await answer(rules, ANN, "job.8") == (200, "ok")


async def test_revocation_while_a_control_rule_decides_denies() -> None:
    async def revoke(user: str, job: str) -> bool:
        rules.revocations[Revocation(user=user, channel=f"job.{job}")] = 2.0
        return True

    rules = access(**{"job__{job}": revoke})
    assert await answer(rules, ANN, "job.7") == (403, "may_not_control")


async def test_channel_rule_keeps_a_chosen_id_from_its_own_channel() -> None:
    bridge = make_bridge()
    bridge.channel("user-{name}.{role}")(lambda user, name, role: False)
    rules = context_of(bridge).connections.access
    admin = Principal(user="ann.admin")
    assert await answer(rules, admin, "user-ann.admin") == (403, "may_not_control")


async def test_control_rule_decides_about_the_own_channel_too() -> None:
    rules = access(**{"user-{name}": lambda user, name: False})
    assert await answer(rules, ANN, "user-ann") == (403, "may_not_control")


def test_control_rules_may_overlap_channel_rules_but_not_each_other() -> None:
    bridge = make_bridge()
    bridge.channel("job.{job}")(lambda user, job: True)

    def may_stop(user: str, job: str) -> bool:
        return True

    assert bridge.control("job.{job}")(may_stop) is may_stop
    with pytest.raises(ConfigurationError, match="Control rules 'job"):
        bridge.control("job.all")(lambda user: True)


def test_control_rule_with_wrong_parameters_is_rejected() -> None:
    with pytest.raises(ConfigurationError, match=r"The control rule of .* \(user, job_id\)"):
        make_bridge().control("job.{job_id}")(lambda user, job: True)


@pytest.mark.parametrize("controls", ["job.*", ["job.*", "log.*"], ()])
def test_exchanged_token_keeps_its_controls(controls: Any) -> None:
    tokens = context_of(make_bridge()).tokens
    expected = ("job.*",) if isinstance(controls, str) else tuple(controls) or None
    first = tokens.verify(tokens.issue("ann", controls=controls))
    assert first.controls == expected
    assert tokens.verify(tokens.exchange(first, None, seconds=60)).controls == expected
    assert tokens.verify(make_bridge().issue_token("ann", controls=controls)).controls == expected
