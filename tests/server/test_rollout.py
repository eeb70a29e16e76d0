"""Operators turn push off and on, for everybody or for a share of users; clients move over."""

from typing import Any

import pytest

from realtime_bridge.server.endpoints.connect import is_rolled_out
from realtime_bridge.settings import Settings
from tests.server.harness import Serve, Site, make_settings

USERS = [f"user{number}" for number in range(500)]


def pushed_to(**options: Any) -> set[str]:
    settings = make_settings(**options)
    return {user for user in USERS if is_rolled_out(settings, user)}


async def described(site: Site, user: str) -> dict[str, object]:
    bearer = f"Bearer {site.token(user)}"
    status, answer = await site.post("connect", {"client": "c_1"}, authorization=bearer)
    assert status == 200
    return answer


async def test_without_push_the_descriptor_asks_for_polling(serve: Serve) -> None:
    assert (await described(await serve(), "7"))["mode"] == "realtime"
    assert (await described(await serve(enabled=False), "7"))["mode"] == "polling"
    assert (await described(await serve(rollout_percent=0), "7"))["mode"] == "polling"


def test_a_larger_share_only_ever_adds_users() -> None:
    shares = [pushed_to(rollout_percent=percent) for percent in (0, 10, 50, 100)]
    assert shares[0] == set()
    assert shares[3] == set(USERS)
    assert shares[0] < shares[1] < shares[2] < shares[3]


@pytest.mark.parametrize("percent", [10, 50])
def test_a_share_is_about_as_large_as_it_says(percent: int) -> None:
    assert abs(len(pushed_to(rollout_percent=percent)) * 100 / len(USERS) - percent) < 6


def test_two_applications_do_not_roll_out_to_the_same_users() -> None:
    assert pushed_to(rollout_percent=50) != pushed_to(rollout_percent=50, prefix="other")


async def test_the_generation_is_the_same_in_every_answer(site: Site) -> None:
    generation = (await described(site, "42"))["generation"]
    assert isinstance(generation, int)
    assert generation > 0
    _, polled = await site.poll({"job.7": None})
    client = await site.open()
    welcome = await client.introduce(site.token())
    assert polled["generation"] == welcome["generation"] == generation


def test_what_clients_have_to_move_for_is_in_the_hash_and_nothing_else() -> None:
    def delivery(**options: Any) -> str:
        settings: Settings = make_settings(**options)
        return settings.delivery

    assert delivery() == delivery(secret="another secret, which is long enough too")
    changed = [delivery(enabled=False), delivery(rollout_percent=10), delivery(log="memory")]
    assert len({delivery(), *changed}) == 4
