"""Small deployments with faults: the invariants of docs/specification.md §8 hold."""

import gc
import os
import random
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.presence.member_list import MemberList
from realtime_bridge.testing.simulation import (
    FAULT_KINDS,
    STORMS,
    Fault,
    InvariantViolation,
    JobBoard,
    Options,
    Simulation,
    SimulationFailedError,
    search,
    simulate,
)
from realtime_bridge.testing.simulation.node import Node

TIMEOUT = 280.0

FIRST_SEED = random.SystemRandom().randrange(10**9)

KNOWN_SEED = 20261201402500
"""First of the seeds that a longer run has tried: a new one finds a rare fault of the simulator
itself now and then, which must not fail a change that has no part in it. `make soak` draws more."""

KNOWN_SEEDS = 900 if os.environ.get("FULL_LOAD") else 300


def trace(seed: int, **arguments: Any) -> list[str]:
    lines: list[str] = []
    Simulation(seed, trace=lines.append, **arguments).run()
    return lines


@pytest.mark.timeout(300)
def test_invariants_hold_for_known_seeds() -> None:
    search(range(KNOWN_SEED, KNOWN_SEED + KNOWN_SEEDS), processes=0)


@pytest.mark.timeout(300)
def test_invariants_hold_for_new_seeds() -> None:
    print(f"python -m realtime_bridge.testing.simulation --seeds 100 --from {FIRST_SEED}")
    search(range(FIRST_SEED, FIRST_SEED + 100), processes=0)


@pytest.mark.parametrize("kind", FAULT_KINDS)
def test_invariants_hold_under_each_fault_alone(kind: str) -> None:
    for seed in range(8):
        fault = Fault(at=20_000, kind=kind, duration=8_000, strength=seed / 8)
        Simulation(seed, faults=[fault]).run()


@pytest.mark.parametrize("log_out_at", [19_000, 24_000])
def test_end_of_a_log_out_does_not_sign_a_revoked_user_in(log_out_at: int) -> None:
    # A token without `rev` is refused for 30 s after a revocation: its user is not served earlier.
    faults = [
        Fault(at=log_out_at, kind="log_out", duration=2_000),
        Fault(at=20_000, kind="revoke"),
    ]
    for seed in (1, 3, 10):
        lines = trace(seed, faults=faults, options=Options(clients=1, transport="poll"))
        end = next(i for i, line in enumerate(lines) if line.endswith("end of log_out"))
        assert any("401 bad_token" in line for line in lines)
        assert not any("401 revoked" in line or "received" in line for line in lines[end:])


def test_same_seed_gives_the_same_trace() -> None:
    assert trace(7) == trace(7)
    assert trace(7) != trace(8)


@pytest.mark.timeout(300)
def test_trace_does_not_depend_on_the_process() -> None:
    # Another seed of Python's hashes gives sets of texts another order.
    script = (
        "from realtime_bridge.testing.simulation import Simulation\n"
        "for seed in range(20):\n"
        "    Simulation(seed, trace=print).run()\n"
    )
    traces = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            timeout=TIMEOUT,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(traces) == 1


def test_run_leaves_none_of_its_servers_behind() -> None:
    def count() -> int:
        # By type: isinstance asks lazy objects of other tests for their class, which sets them up.
        return sum(type(item) is Node for item in gc.get_objects())

    before = count()
    for seed in range(3):
        Simulation(seed).run()
    assert count() <= before


def test_given_faults_happen() -> None:
    fault = Fault(at=20_000, kind="half_open", target=0, strength=0.9)
    options = Options(clients=1, channels=1, transport="auto")
    text = "\n".join(trace(1, faults=[fault], options=options))
    assert "from=LIVE to=SUSPECT" in text
    assert text.rindex("to=LIVE") > text.index("from=SUSPECT to=FALLBACK")


def test_every_mode_and_status_is_exercised() -> None:
    modes = ("BOOT", "CONNECTING", "PROBING", "LIVE", "SUSPECT", "FALLBACK", "UPGRADING", "DENIED")
    kinds = ("starting", "connecting", "realtime", "polling", "error")
    missing = {f" to={mode} " for mode in modes} | {f" shows {kind}" for kind in kinds}
    for seed in range(400):
        text = "\n".join(trace(seed)) if missing else ""
        missing = {word for word in missing if word not in text}
    assert not missing


class WithoutSnapshots(JobBoard):
    """Page that does not load its state after a reset."""

    def snapshot(self, channel: str, jobs: Mapping[str, Any]) -> None:
        pass


class WithoutResets(JobBoard):
    """Page that fails at a reset."""

    def reset(self, channel: str, position: Position | None) -> None:
        raise RuntimeError(f"{channel}: unexpected reset at {position}")


class Counting(JobBoard):
    """Page that counts its events."""

    calls = 0

    def event(self, event: Event) -> None:
        super().event(event)
        Counting.calls += 1


def test_streams_meet_lost_workers_zombies_and_stops() -> None:
    lines: list[str] = []
    options = Options(clients=1, jobs=1, streams=2)
    for seed in range(12):
        frozen = Fault(at=10_000, kind="freeze_worker", duration=45_000, target=seed % 2)
        killed = Fault(at=10_000, kind="kill_worker")
        for fault in (frozen, killed):
            Simulation(seed, faults=[fault], options=options, trace=lines.append).run()
    text = "\n".join(lines)
    for happening in ("-lapse-", "StreamSupersededError", "is stopped", "is completed"):
        assert happening in text, happening


def test_tasks_meet_lost_workers_cancellations_and_two_answers() -> None:
    lines: list[str] = []
    options = Options(clients=1, jobs=1, streams=0, tasks=2)
    for seed in range(12):
        frozen = Fault(at=10_000, kind="freeze_worker", duration=45_000, target=seed % 2)
        killed = Fault(at=10_000, kind="kill_worker")
        for fault in (frozen, killed):
            Simulation(seed, faults=[fault], options=options, trace=lines.append).run()
    text = "\n".join(lines)
    happenings = (
        "-lapse-",
        "superseded",
        ": cancelling",
        "is cancelled",
        ": accepted",
        ": answered",
    )
    for happening in (*happenings, ": ended", "is completed"):
        assert happening in text, happening


@pytest.mark.parametrize("kind", ["rotate_secret", "replace_secret"])
def test_changes_of_the_secret_meet_tokens_of_the_old_one(kind: str) -> None:
    lines: list[str] = []
    options = Options(clients=2, nodes=2, memory=False)
    for seed in range(6):
        fault = Fault(at=10_000, kind=kind, duration=8_000, strength=seed / 6)
        Simulation(seed, faults=[fault], options=options, trace=lines.append).run()
    assert any("code=token_unknown_key" in line for line in lines)


@pytest.mark.parametrize("kind", ["kill", "restart", "fail_over", "new_epoch"])
def test_members_meet_lost_servers_and_a_log_that_loses_events(kind: str) -> None:
    lines: list[str] = []
    for seed in range(3):
        fault = Fault(at=20_000, kind=kind, duration=8_000, strength=seed / 3)
        options = Options(clients=1, jobs=1, streams=0, tasks=0, members=4)
        Simulation(seed, faults=[fault], options=options, trace=lines.append).run()
    changes = {line.rpartition(" ")[2] for line in lines if " sees " in line}
    assert changes == {"joined", "left"}


def test_member_that_shows_no_changes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemberList, "handle", lambda *_: [])
    with pytest.raises(InvariantViolation, match="I25"):
        Simulation(2, options=Options(clients=1, members=4)).run()


def test_own_page_receives_events() -> None:
    Simulation(3, options=Options(handler=Counting)).run()
    assert Counting.calls


def test_page_that_ignores_snapshots_is_found() -> None:
    options = Options(handler=WithoutSnapshots)
    with pytest.raises(SimulationFailedError, match="I4"):
        search(range(1_000), options=options)


def test_failure_contains_seed_and_fewest_faults() -> None:
    options = Options(handler=WithoutResets)
    with pytest.raises(SimulationFailedError, match="unexpected reset") as failed:
        search(range(3, 1_000), options=options)  # the third seed has six faults
    failure = failed.value.failure
    assert str(failed.value).startswith(f"seed {failure.seed}: ")
    assert len(Simulation(failure.seed).faults) > 1
    assert len(failure.faults) <= 1
    assert failure.trace()
    with pytest.raises(SimulationFailedError):
        simulate(failure.seed, options=options)


def test_search_in_processes_leaves_no_thread() -> None:
    before = threading.enumerate()
    search(range(2), processes=2)
    assert threading.enumerate() == before


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "realtime_bridge.testing.simulation", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)


@pytest.mark.timeout(300)
def test_command_prints_a_trace() -> None:
    process = run("--trace", "7")
    assert process.returncode == 0
    assert process.stdout.splitlines() == trace(7)


@pytest.mark.timeout(300)
def test_ten_thousand_clients_reconnect_spread_over_a_window() -> None:
    process = run("--storms", "--from", str(FIRST_SEED))
    assert process.returncode == 0, process.stdout
    assert len(process.stdout.splitlines()) == len(STORMS)


@pytest.mark.timeout(300)
def test_command_prints_a_summary() -> None:
    process = run("--seeds", "3", "--from", "5", "--skip", "I17", "--without", "feed_raises")
    assert process.returncode == 0
    assert process.stdout.startswith("3 seeds from 5, ")
    assert process.stdout.endswith("every invariant but I17 holds\n")
    assert not process.stderr
