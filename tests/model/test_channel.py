"""Names of channels, and the patterns that match them."""

from itertools import product
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from realtime_bridge.errors import ConfigurationError, InvalidEventError
from realtime_bridge.model.channel import ChannelPattern, check_channel


@pytest.mark.parametrize("name", ["a", "user-42", "job.7", "a_=@,.;-Z9", "x" * 128, "private_x"])
def test_channel_name_of_the_alphabet_is_accepted(name: str) -> None:
    assert check_channel(name) == name


@pytest.mark.parametrize(
    "name", ["", "x" * 129, "job 7", "job:7", "job/7", "jöb", "job.7\n", "job#7", "{job}"]
)
def test_bad_channel_name_is_refused_with_the_alphabet(name: str) -> None:
    with pytest.raises(InvalidEventError) as caught:
        check_channel(name)
    assert str(caught.value) == (
        f"Bad channel name {name!r}: use 1 to 128 characters of A-Z a-z 0-9 _ = @ , . ; -"
    )


@pytest.mark.parametrize("name", [None, 7, b"job.7", ["job.7"], {"job": 7}])
def test_channel_name_that_is_no_text_is_refused(name: Any) -> None:
    with pytest.raises(InvalidEventError, match=r"^Bad channel name .*: use a text, like job.7$"):
        check_channel(name)


@pytest.mark.parametrize("prefix", ["private-", "presence-"])
def test_prefix_of_a_provider_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidEventError, match=f"omit '{prefix}'"):
        check_channel(f"{prefix}job.7")


@pytest.mark.parametrize(
    ("pattern", "channel", "filled"),
    [
        ("job.{job_id}", "job.7", {"job_id": "7"}),
        ("job.{job_id}", "job.a-b_c@d", {"job_id": "a-b_c@d"}),
        ("job.{job_id}", "job.", None),
        ("job.{job_id}", "job.7.8", None),
        ("job.{job_id}", "myjob.7", None),
        ("job.{job_id}", "jobX7", None),
        ("job.{job_id}", "job.7\n", None),
        ("user-{user}", "user-a-b", {"user": "a-b"}),
        ("{a}.{b}", "x.y", {"a": "x", "b": "y"}),
        ("{a}.log.{b}", "x.log.y", {"a": "x", "b": "y"}),
        ("news", "news", {}),
        ("news", "news2", None),
    ],
)
def test_pattern_matches_whole_names_and_holes_no_dot(
    pattern: str, channel: str, filled: dict[str, str] | None
) -> None:
    assert ChannelPattern(pattern).match(channel) == filled


@pytest.mark.parametrize(
    "text", ["", "job {id}", "job.{}", "job.{7}", "job.{id", "job.id}", "job.*", "jöb"]
)
def test_malformed_pattern_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^Bad channel pattern .*like 'job\.\{job_id\}'"):
        ChannelPattern(text)


@pytest.mark.parametrize("text", ["{a}{b}", "{a}-{b}", "x.{a}_{b}"])
def test_ambiguous_pattern_is_refused(text: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^Ambiguous channel pattern .* put a dot between"
    ):
        ChannelPattern(text)


def test_hole_named_twice_is_refused() -> None:
    with pytest.raises(
        ConfigurationError, match=r"^Channel pattern '\{a\}\.\{a\}' names a hole twice"
    ):
        ChannelPattern("{a}.{a}")


LETTERS = "ab."
NAMES = ["".join(name) for size in range(1, 7) for name in product(LETTERS, repeat=size)]
"""Long enough: two patterns of three symbols that meet do so in a name of at most six."""


@st.composite
def patterns(draw: st.DrawFn) -> ChannelPattern:
    symbols = draw(st.lists(st.sampled_from([*LETTERS, "{}"]), min_size=1, max_size=3))
    text = "".join(f"{{h{n}}}" if s == "{}" else s for n, s in enumerate(symbols))
    try:
        return ChannelPattern(text)
    except ConfigurationError:
        assume(False)
        raise


@given(patterns(), patterns())
def test_patterns_overlap_exactly_when_a_name_matches_both(
    one: ChannelPattern, other: ChannelPattern
) -> None:
    meet = any(one.match(name) is not None and other.match(name) is not None for name in NAMES)
    assert one.overlaps(other) == other.overlaps(one) == meet


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("job.{id}", "job.{id}", True),
        ("job.{id}", "{kind}.7", True),
        ("job.{id}", "user-{id}", False),
        ("a{x}", "{y}a", True),
        ("{a}.{b}", "{a}", False),
        ("{a}.x.{b}", "{a}.{b}.y", True),
        ("job.{id}", "job.", False),
    ],
)
def test_customary_patterns_overlap_or_not(one: str, other: str, *, meet: bool) -> None:
    assert ChannelPattern(one).overlaps(ChannelPattern(other)) is meet
