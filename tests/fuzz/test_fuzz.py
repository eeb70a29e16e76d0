"""Short runs of the fuzzers; `make fuzz` runs them for a minute each."""

import re

import pytest

from tests.docs.test_code_blocks import ROOT
from tests.fuzz.run import fuzz
from tests.fuzz.targets import TARGETS

SECONDS = 3.0

WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_breaks_a_promise(name: str) -> None:
    assert fuzz(name, seconds=SECONDS, start=1)


def test_workflow_runs_every_fuzzer() -> None:
    names = re.search(r"target: \[(.+)\]", WORKFLOW.read_text())
    assert names
    assert names[1].split(", ") == list(TARGETS)
