"""Many small deployments in which things go wrong: no promise of docs/specification.md §8 is broken."""

import random
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.testing.simulation import (
    KINDS,
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

FRESH = random.SystemRandom().randrange(10**9)


def story(seed: int, **options: Any) -> list[str]:
    lines: list[str] = []
    Simulation(seed, tell=lines.append, **options).run()
    return lines


def test_a_thousand_fresh_seeds_break_no_promise() -> None:
    print(f"python -m realtime_bridge.testing.simulation --seeds 1000 --from {FRESH}")
    search(range(FRESH, FRESH + 1_000))


@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_alone_breaks_no_promise(kind: str) -> None:
    for seed in range(20):
        Simulation(
            seed, faults=[Fault(at=20_000, kind=kind, lasts=8_000, strength=seed / 20)]
        ).run()


def test_a_seed_always_tells_the_same_story() -> None:
    assert story(7) == story(7)
    assert story(7) != story(8)


def test_a_script_is_what_happens() -> None:
    lines = story(1, faults=[Fault(at=20_000, kind="half_open", client=0)])
    told = "\n".join(line for line in lines if " c_0 " in line)
    assert "LIVE → SUSPECT ping1 poll" in told
    assert "SUSPECT → FALLBACK close1" in told
    assert told.rindex("→ LIVE") > told.index("SUSPECT → FALLBACK")


def test_every_part_of_the_machine_is_exercised() -> None:
    told = "\n".join(line for seed in range(300) for line in story(seed))
    modes = ("BOOT", "CONNECTING", "PROBING", "LIVE", "SUSPECT", "FALLBACK", "UPGRADING")
    assert all(f"→ {mode}" in told for mode in (*modes, "PAUSED", "DENIED"))
    commands = ("renew", "token1", "poll", "abandon", "ping1", "close1", "open9")
    assert all(f" {command}" in told for command in commands)


class Forgetful(JobBoard):
    """A page that does not load its state after a reset."""

    def snapshot(self, channel: str, jobs: Mapping[str, Any]) -> None:
        pass


class Strict(JobBoard):
    """A page that believes there are never resets."""

    def reset(self, channel: str, position: Position | None) -> None:
        raise RuntimeError(f"{channel}: nobody told me of {position}")


class Counting(JobBoard):
    """A page that counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def event(self, event: Event) -> None:
        super().event(event)
        self.calls += 1


def test_a_page_of_ones_own_runs_in_it() -> None:
    simulation = Simulation(3, options=Options(handler=Counting))
    simulation.run()
    boards = [client.channels.handler for client in simulation.clients]
    assert all(isinstance(board, Counting) and board.calls for board in boards)


def test_a_page_that_ignores_its_snapshot_is_found() -> None:
    with pytest.raises(SimulationFailedError, match="I4"):
        search(range(1_000), options=Options(handler=Forgetful))


def test_a_failure_comes_with_its_seed_and_its_smallest_story() -> None:
    with pytest.raises(SimulationFailedError, match="nobody told me") as failed:
        search(range(1_000), options=Options(handler=Strict))
    failure = failed.value.failure
    assert str(failed.value).startswith(f"seed {failure.seed}: job.")
    assert len(failure.faults) <= 1
    assert all(fault.client in (None, 0, 1) for fault in failure.faults)
    assert failure.story()
    with pytest.raises(SimulationFailedError):
        simulate(failure.seed, options=Options(handler=Strict))


@pytest.mark.parametrize("storm", STORMS, ids=lambda storm: storm.name)
def test_ten_thousand_clients_come_back_spread_over_the_window(storm: Storm) -> None:
    check_storm(storm, seed=FRESH)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "realtime_bridge.testing.simulation", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_command_tells_a_story() -> None:
    told = run("--story", "7")
    assert told.returncode == 0
    assert told.stdout.splitlines() == story(7)


def test_the_command_makes_storms() -> None:
    done = run("--storms")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == len(STORMS)


def test_the_command_says_what_it_did() -> None:
    done = run("--seeds", "3", "--from", "5")
    assert done.returncode == 0
    assert done.stdout.startswith("3 seeds from 5, ")
    assert done.stdout.endswith("every promise kept\n")
    assert not done.stderr
