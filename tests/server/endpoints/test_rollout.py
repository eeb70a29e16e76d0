"""Tests of the switch for push, the share of users, and the generation."""

from typing import Any

import pytest

from realtime_bridge.server.endpoints.connect import is_rolled_out
from realtime_bridge.settings import Settings
from tests.server.harness import Serve, Site, make_settings

USERS = [f"user{number}" for number in range(500)]


def users_with_push(**options: Any) -> set[str]:
    settings = make_settings(**options)
    return {user for user in USERS if is_rolled_out(settings, user)}


async def get_descriptor(site: Site, user: str) -> dict[str, object]:
    bearer = f"Bearer {site.token(user)}"
    status, answer = await site.post("connect", {"client": "c_1"}, authorization=bearer)
    assert status == 200
    return answer


async def test_descriptor_without_push_has_polling_mode(serve: Serve) -> None:
    assert (await get_descriptor(await serve(), "7"))["mode"] == "realtime"
    assert (await get_descriptor(await serve(enabled=False), "7"))["mode"] == "polling"
    assert (await get_descriptor(await serve(rollout_percent=0), "7"))["mode"] == "polling"


def test_larger_share_contains_the_smaller_one() -> None:
    shares = [users_with_push(rollout_percent=percent) for percent in (0, 10, 50, 100)]
    assert shares[0] == set()
    assert shares[3] == set(USERS)
    assert shares[0] < shares[1] < shares[2] < shares[3]


@pytest.mark.parametrize("percent", [10, 50])
def test_share_is_close_to_its_percentage(percent: int) -> None:
    assert abs(len(users_with_push(rollout_percent=percent)) * 100 / len(USERS) - percent) < 6


def test_shares_of_two_applications_differ() -> None:
    assert users_with_push(rollout_percent=50) != users_with_push(
        rollout_percent=50, prefix="other"
    )


async def test_generation_is_the_same_in_all_responses(site: Site) -> None:
    generation = (await get_descriptor(site, "42"))["generation"]
    assert isinstance(generation, int)
    assert generation > 0
    _, polled = await site.poll({"job.7": None})
    client = await site.open()
    welcome = await client.introduce(site.token())
    assert polled["generation"] == welcome["generation"] == generation


def test_delivery_hash_has_only_settings_that_move_clients() -> None:
    def delivery(**options: Any) -> str:
        settings: Settings = make_settings(**options)
        return settings.delivery

    assert delivery() == delivery(secret="another secret that is long enough too")
    deliveries = [delivery(enabled=False), delivery(rollout_percent=10), delivery(log="memory")]
    assert len({delivery(), *deliveries}) == 4
