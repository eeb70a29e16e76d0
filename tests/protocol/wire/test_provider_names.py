"""Tests of the mapping of channel names to a provider's names."""

import pytest

from realtime_bridge.protocol.wire.provider_names import ProviderNames

NAMES = ProviderNames("private-app.")


def test_channel_is_encoded_with_the_prefix_and_decoded_again() -> None:
    assert NAMES.encode("job.7") == "private-app.job.7"
    assert NAMES.decode("private-app.job.7") == "job.7"


@pytest.mark.parametrize("name", ["private-other.job.7", "job.7", ""])
def test_name_of_another_application_has_no_channel(name: str) -> None:
    assert NAMES.decode(name) is None


@pytest.mark.parametrize("rest", ["", "job 7", "x" * 129, "private-app.job.7"])
def test_prefix_before_an_invalid_channel_has_no_channel(rest: str) -> None:
    assert NAMES.decode(f"private-app.{rest}") is None
