"""The vectors that the twins in Python and TypeScript both replay: see tests/vectors/README.md."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_bridge.protocol import backoff
from realtime_bridge.protocol.client.commands import Command, Options, Terms
from realtime_bridge.protocol.client.machine import Machine
from realtime_bridge.protocol.client.options import HOUR, NEVER, RULES, check_intervals
from realtime_bridge.protocol.client.poll_schedule import PollSchedule
from realtime_bridge.protocol.client.status import Status
from realtime_bridge.protocol.client.timing import Timing

TESTS = Path(__file__).parents[2]
FOLDER = TESTS / "vectors"
REPLAYED_ELSEWHERE = {
    "jobs.json": "jobs/test_state.py",
    "presence.json": "protocol/presence/test_member_list.py",
    "reducer.json": "protocol/client/test_reducer.py",
    "shell.json": "client/test_shell_vectors.py",
    "stream_forms.json": "protocol/streams/test_form_vectors.py",
    "streams.json": "protocol/streams/test_snapshot.py",
    "traceparent.json": "protocol/wire/test_traceparent.py",
    "user_channel.json": "model/test_user.py",
}
loaded: set[str] = set()


def load(name: str) -> pytest.MarkDecorator:
    loaded.add(name)
    vectors = json.loads((FOLDER / name).read_text())["vectors"]
    return pytest.mark.parametrize(
        "vector",
        vectors,
        ids=[vector["name"] for vector in vectors],
    )


def test_every_file_of_vectors_is_replayed() -> None:
    assert {path.name for path in FOLDER.glob("*.json")} == {*loaded, *REPLAYED_ELSEWHERE}


@pytest.mark.parametrize(("vectors", "test"), REPLAYED_ELSEWHERE.items())
def test_other_tests_load_their_vectors(vectors: str, test: str) -> None:
    assert f'"{vectors}"' in (TESTS / test).read_text()


def fields_of(command: Command) -> dict[str, Any]:
    fields = {"do": command.do, "socket": command.socket, "code": command.code}
    return {name: value for name, value in fields.items() if value is not None}


def give(machine: Machine, step: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the machine the input of one step, and return its commands as the vectors write them."""
    args = {
        name: Terms(**value) if name in ("terms", "cached") else value
        for name, value in step.get("args", {}).items()
    }
    machine.now, machine.draw = step["at"], step.get("draw", 0.5)
    getattr(machine, step["input"])(**args)
    return [fields_of(command) for command in machine.take_commands()]


def status_fields(current: Status) -> dict[str, Any]:
    return {"kind": current.kind, "label": current.label, "reason": current.reason}


@load("machine.json")
def test_machine(vector: dict[str, Any]) -> None:
    replay(vector)


@load("status.json")
def test_status(vector: dict[str, Any]) -> None:
    replay(vector)


def replay(vector: dict[str, Any]) -> None:
    machine = Machine(Options(**vector.get("options", {})))
    for number, step in enumerate(vector["steps"]):
        where = f"step {number}: {step}, timers {machine.timers}"
        if "input" in step:
            assert give(machine, step) == step["commands"], where
        for name in ("mode", "wake_at", "polling"):
            if name in step:
                assert getattr(machine, name) == step[name], where
        fields = status_fields(machine.connection_status(step["at"]))
        assert fields.items() >= step.get("status", {}).items(), where


@load("poll_schedule.json")
def test_poll_schedule(vector: dict[str, Any]) -> None:
    schedule = PollSchedule(vector["polling_interval"], Timing())
    for number, step in enumerate(vector["steps"]):
        hidden = step.get("hidden", schedule.hidden)
        schedule.set_reach(hidden=hidden, offline=step.get("offline", schedule.offline))
        if "input" in step:
            getattr(schedule, step["input"])(**step.get("args", {}))
        for name in step.keys() & {"interval", "next", "soon"}:
            given = dict(step[name])
            expected = given.pop("gives")
            assert getattr(schedule, name)(**given) == expected, f"step {number}: {step}"
        for name in step.keys() & {"usual", "in_flight"}:
            assert getattr(schedule, name) == step[name], f"step {number}: {step}"


@load("backoff.json")
def test_backoff(vector: dict[str, Any]) -> None:
    assert backoff.delay(**vector["given"]) == vector["seconds"]


def number(value: Any) -> Any:
    """Return a number that JSON cannot hold; `never` is that of the client."""
    names = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf, "never": NEVER}
    return names.get(value, value) if isinstance(value, str) else value


@load("options.json")
def test_options(vector: dict[str, Any]) -> None:
    given = {name: number(value) for name, value in vector["given"].items()}
    valid, problems = check_intervals(given)
    assert valid == {name: number(value) for name, value in vector["valid"].items()}
    assert [problem.split()[0] for problem in problems] == vector["replaced"]


@given(
    st.dictionaries(
        st.sampled_from([*RULES, "other"]),
        st.floats() | st.integers() | st.text() | st.booleans() | st.none() | st.lists(st.none()),
    )
)
def test_any_options_become_valid_ones(given: dict[str, Any]) -> None:
    valid, problems = check_intervals(given)
    assert set(valid) == set(RULES)
    for name, value in valid.items():
        assert type(value) is int
        assert value == NEVER or RULES[name].least <= value <= HOUR
    assert len(problems) <= len(given)


@load("timing.json")
def test_timing(vector: dict[str, Any]) -> None:
    assert asdict(Timing()) == vector["both"] | vector["python"]
