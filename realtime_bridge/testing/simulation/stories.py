"""Stories: deployments and faults that have to meet for a rare order of events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from realtime_bridge.testing.simulation.faults import Fault, draw_fault

PACES = ("steady", "steady", "burst", "stutter", "stutter")
"""Names of the waits between the steps of a job, as often as they are drawn."""


@dataclass(frozen=True, slots=True)
class StoryFault:
    """Fault of a story.

    Args:
        kind: a name from `FAULT_KINDS`.
        after: the earliest and the latest begin, in milliseconds after the story's begin.
        duration: the duration in milliseconds; None: drawn as elsewhere.
        strength: the least and the greatest strength.

    """

    kind: str
    after: tuple[int, int] = (0, 0)
    duration: int | None = None
    strength: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Story:
    """Kind of deployment, and its faults.

    Args:
        share: the share of deployments that have this story.
        shape: values of the deployment's shape that are not drawn.
        faults: the faults, which begin at about the same time.
        paces: the names of the waits between the steps of jobs.

    """

    share: float
    shape: Mapping[str, Any]
    faults: tuple[StoryFault, ...]
    paces: Sequence[str] = PACES

    def draw_faults(self, random: Random, *, clients: int, nodes: int, span: int) -> list[Fault]:
        """Draw the faults of the first `span` milliseconds."""
        # Jobs run before the faults, and the run is short: stories cost more than other runs.
        begin = random.randrange(span // 8, span // 2)
        return sorted(
            draw_fault(
                random,
                fault.kind,
                clients,
                nodes,
                begin + random.randint(*fault.after),
                duration=fault.duration,
                strength=random.uniform(*fault.strength),
            )
            for fault in self.faults
        )


_SERVERS = {"memory": False, "channels": 1, "streams": 0, "tasks": 0, "jobs": 6}

STORIES = (
    # A phone that polls sleeps while the log loses its last events. It comes back where the other
    # clients have another event at its offset.
    Story(
        0.08,
        {**_SERVERS, "transport": "poll", "clients": 5, "nodes": 1, "jobs": 4},
        (
            StoryFault("sleep", duration=2_000),
            StoryFault("roll_back", (100, 700)),
            StoryFault("kill_worker", (700, 800)),
        ),
        paces=("steady",),
    ),
    # All servers start again after a failover, and one of them reads the log slowly: its reset
    # comes when the client's polls have moved on.
    Story(
        0.05,
        {**_SERVERS, "transport": "auto", "clients": 3, "nodes": 2, "jobs": 9},
        (
            StoryFault("lose_zone", duration=2_000, strength=(0.5, 1.0)),
            StoryFault("slow_log", (0, 500), 20_000, strength=(0.5, 1.0)),
        ),
        paces=("steady",),
    ),
    # A client connects again during an epoch's end, through a server that reads the log slowly.
    Story(
        0.05,
        {**_SERVERS, "transport": "auto", "clients": 2, "nodes": 2},
        (
            StoryFault("cut"),
            StoryFault("new_epoch", (-500, 2_000)),
            StoryFault("slow_log", (-500, 0), 20_000, strength=(0.5, 1.0)),
        ),
    ),
)
"""Stories that the usual draws meet too seldom."""


def draw_story(random: Random) -> Story | None:
    """Return the story of a deployment; most have none."""
    shares = [story.share for story in STORIES]
    return random.choices((None, *STORIES), (1.0 - sum(shares), *shares))[0]
