"""Tests of ids of users, and of the channel of each user."""

import json
import uuid
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_bridge import InvalidIdentityError, user_channel
from realtime_bridge.model.channel import check_channel
from realtime_bridge.model.user import MAX_USER, user_text

FILE = Path(__file__).parents[1] / "vectors" / "user_channel.json"
VECTORS = json.loads(FILE.read_text())["vectors"]


class Role(StrEnum):
    ADMIN = "admin"


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_channel_of_a_user(vector: Any) -> None:
    if vector["channel"]:
        assert user_channel(vector["user"]) == vector["channel"]
        return
    with pytest.raises(InvalidIdentityError):
        user_channel(vector["user"])


@given(st.text(min_size=1, max_size=12), st.text(min_size=1, max_size=12))
def test_channel_can_be_decoded_into_the_user(one: str, other: str) -> None:
    channels = []
    for user in (one, other):
        try:
            channels.append(check_channel(user_channel(user)))
        except InvalidIdentityError:
            return
        assert unquote(channels[-1].removeprefix("user-").replace("=", "%")) == user
    assert (channels[0] == channels[1]) is (one == other)


@pytest.mark.parametrize(
    ("user", "text"),
    [
        (42, "42"),
        (2**70, str(2**70)),
        ("ann", "ann"),
        (Role.ADMIN, "admin"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        ("x" * MAX_USER, "x" * MAX_USER),
        (None, None),
        ("", None),
        (0, None),
        (False, None),
        ({}, None),
        ([], None),
        ((), None),
        (0.0, None),
    ],
)
def test_id_of_a_user_is_text(user: Any, text: str | None) -> None:
    assert user_text(user) == text


@pytest.mark.parametrize(
    "user",
    [
        True,
        float("nan"),
        1.5,
        b"ann",
        object(),
        {"password": "hash"},
        ["ann"],
        ("ann", 1),
        "x" * (MAX_USER + 1),
        "a\x1b[31m",
        "a\n",
        "\ud800",
    ],
)
def test_other_value_is_no_id_and_not_in_the_error(user: Any) -> None:
    with pytest.raises(InvalidIdentityError) as caught:
        user_text(user)
    assert "hash" not in str(caught.value)
    assert str(caught.value).isprintable()
