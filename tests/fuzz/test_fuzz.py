"""Short runs of the fuzzers; `make fuzz` runs them for a minute each."""

import pytest

from tests.fuzz.run import fuzz
from tests.fuzz.targets import TARGETS

SECONDS = 3.0


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_breaks_a_promise(name: str) -> None:
    assert fuzz(name, seconds=SECONDS, start=1)
