"""Mapping of Pusher's channel names: reversible, and without a way from public to private."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model.channel import check_event_channel
from realtime_bridge.protocol.pusher.names import (
    ChannelNameError,
    decode_name,
    encode_name,
    is_cache,
)

PREFIXES = ["", "private-", "private-encrypted-", "presence-", "#server-to-user-", "cache-"]
STARTS = ["public.", "encrypted.", "presence.", "server-to-user.", "user-", "@realtime", "private."]
RESTS = st.text(st.sampled_from("ab.-@;=_,7 :#é"), max_size=6) | st.just("x" * 120)
NAMES = st.builds(
    "".join,
    st.tuples(
        st.lists(st.sampled_from(PREFIXES), max_size=2).map("".join),
        st.lists(st.sampled_from(STARTS), max_size=2).map("".join),
        RESTS,
    ),
)


def decode(name: str) -> str | None:
    try:
        return decode_name(name)
    except ChannelNameError:
        return None


@pytest.mark.parametrize(
    ("name", "channel"),
    [
        ("news", "public.news"),
        ("private-job.7", "job.7"),
        ("private-user-42", "user-42"),
        ("private-encrypted-chat", "encrypted.chat"),
        ("#server-to-user-42", "server-to-user.42"),
        ("presence-room", "presence.room"),
        ("presence-cache-room", "presence.cache-room"),
        ("cache-news", "public.cache-news"),
        ("private-cache-job", "cache-job"),
        ("private-encrypted-cache-chat", "encrypted.cache-chat"),
        ("public.news", "public.public.news"),
        ("privatejob", "public.privatejob"),
    ],
)
def test_name_has_its_channel(name: str, channel: str) -> None:
    assert decode_name(name) == channel
    assert encode_name(channel) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("private-public.news", "must not begin with public."),
        ("private-encrypted.chat", "must not begin with encrypted."),
        ("private-presence.room", "must not begin with presence."),
        ("private-server-to-user.42", "must not begin with server-to-user."),
        ("private-private-x", "Invalid channel name"),
        ("private-encrypted-private-x", "Invalid channel name"),
        ("private-@realtime", "begins with @realtime"),
        ("@realtime.user", "begins with @realtime"),
        ("a:b", "use 1 to 121 characters"),
        ("x" * 122, "use 1 to 121 characters"),
        ("private-" + "x" * 129, "use 1 to 128 characters"),
        ("", "use 1 to 121"),
        ("private-", "use 1 to 128"),
        ("private-encrypted-", "use 1 to 118"),
        ("presence-" + "x" * 101, "use 1 to 100"),
    ],
)
def test_name_without_a_channel_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(ChannelNameError, match=re.escape(reason)):
        decode_name(name)


@given(NAMES)
def test_accepted_name_is_the_name_of_its_channel(name: str) -> None:
    channel = decode(name)
    if channel is not None:
        assert encode_name(channel) == name
        assert check_event_channel(channel) == channel


@given(RESTS.map("job.".__add__) | NAMES)
def test_each_channel_has_one_name(channel: str) -> None:
    try:
        check_event_channel(channel)
    except InvalidEventError:
        return
    name = encode_name(channel)
    assert decode(name) in (channel, None)


@given(NAMES, NAMES)
def test_no_public_name_reaches_a_private_channel(one: str, other: str) -> None:
    """The kinds of two names that share a channel are the same."""
    if decode(one) is not None and decode(one) == decode(other):
        assert one == other
    channel = decode(one)
    if channel is not None and not one.startswith(("private-", "presence-", "#")):
        assert channel.startswith("public.")


@pytest.mark.parametrize("prefix", ["", "private-", "private-encrypted-", "presence-"])
def test_cache_channels_are_recognized(prefix: str) -> None:
    assert is_cache(f"{prefix}cache-x")
    assert not is_cache(f"{prefix}x-cache-")
