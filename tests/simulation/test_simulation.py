"""Small deployments with faults: the invariants of docs/specification.md §8 hold."""

import random
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.testing.simulation import (
    FAULT_KINDS,
    STORMS,
    Fault,
    JobBoard,
    Options,
    Simulation,
    SimulationFailedError,
    Storm,
    check_storm,
    search,
    simulate,
)

TIMEOUT = 100.0

FIRST_SEED = random.SystemRandom().randrange(10**9)


def trace(seed: int, **options: Any) -> list[str]:
    lines: list[str] = []
    Simulation(seed, trace=lines.append, **options).run()
    return lines


def test_invariants_hold_for_a_thousand_new_seeds() -> None:
    print(f"python -m realtime_bridge.testing.simulation --seeds 1000 --from {FIRST_SEED}")
    search(range(FIRST_SEED, FIRST_SEED + 1_000))


@pytest.mark.parametrize("kind", FAULT_KINDS)
def test_invariants_hold_under_each_fault_alone(kind: str) -> None:
    for seed in range(20):
        Simulation(
            seed, faults=[Fault(at=20_000, kind=kind, duration=8_000, strength=seed / 20)]
        ).run()


def test_same_seed_gives_the_same_trace() -> None:
    assert trace(7) == trace(7)
    assert trace(7) != trace(8)


def test_given_faults_happen() -> None:
    lines = trace(1, faults=[Fault(at=20_000, kind="half_open", client=0)])
    text = "\n".join(line for line in lines if " c_0 " in line)
    assert "LIVE → SUSPECT ping1 poll" in text
    assert "SUSPECT → FALLBACK close1" in text
    assert text.rindex("→ LIVE") > text.index("SUSPECT → FALLBACK")


def test_every_mode_and_command_is_exercised() -> None:
    text = "\n".join(line for seed in range(300) for line in trace(seed))
    modes = ("BOOT", "CONNECTING", "PROBING", "LIVE", "SUSPECT", "FALLBACK", "UPGRADING")
    assert all(f"→ {mode}" in text for mode in (*modes, "PAUSED", "DENIED"))
    commands = ("renew", "token1", "poll", "abandon", "ping1", "close1", "open9")
    assert all(f" {command}" in text for command in commands)


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

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def event(self, event: Event) -> None:
        super().event(event)
        self.calls += 1


def test_own_page_receives_events() -> None:
    simulation = Simulation(3, options=Options(handler=Counting))
    simulation.run()
    boards = [client.channels.handler for client in simulation.clients]
    assert all(isinstance(board, Counting) and board.calls for board in boards)


def test_page_that_ignores_snapshots_is_found() -> None:
    with pytest.raises(SimulationFailedError, match="I4"):
        search(range(1_000), options=Options(handler=WithoutSnapshots))


def test_failure_contains_seed_and_fewest_faults() -> None:
    with pytest.raises(SimulationFailedError, match="unexpected reset") as failed:
        search(range(1_000), options=Options(handler=WithoutResets))
    failure = failed.value.failure
    assert str(failed.value).startswith(f"seed {failure.seed}: job.")
    assert len(failure.faults) <= 1
    assert all(fault.client in (None, 0, 1) for fault in failure.faults)
    assert failure.trace()
    with pytest.raises(SimulationFailedError):
        simulate(failure.seed, options=Options(handler=WithoutResets))


@pytest.mark.parametrize("storm", STORMS, ids=lambda storm: storm.name)
def test_ten_thousand_clients_reconnect_spread_over_a_window(storm: Storm) -> None:
    check_storm(storm, seed=FIRST_SEED)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "realtime_bridge.testing.simulation", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)


def test_command_prints_a_trace() -> None:
    process = run("--trace", "7")
    assert process.returncode == 0
    assert process.stdout.splitlines() == trace(7)


def test_command_simulates_storms() -> None:
    process = run("--storms")
    assert process.returncode == 0
    assert len(process.stdout.splitlines()) == len(STORMS)


def test_command_prints_a_summary() -> None:
    process = run("--seeds", "3", "--from", "5")
    assert process.returncode == 0
    assert process.stdout.startswith("3 seeds from 5, ")
    assert process.stdout.endswith("every invariant holds\n")
    assert not process.stderr
