"""Size and kind of a simulated deployment."""

from dataclasses import dataclass
from random import Random
from typing import Any

from realtime_bridge.client.transport_manager import TransportName
from realtime_bridge.model.retention import Retention
from realtime_bridge.testing.simulation.options import Options
from realtime_bridge.testing.simulation.stories import Story, draw_story

WIDE = 64
"""Channels of a client with many: the server reads them in several turns."""


SMALL_BUFFER = 1_024
"""Bytes that may wait for a client where a burst makes it a slow reader."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Size and kind of one deployment, drawn from its seed."""

    clients: int
    channels: int
    jobs: int
    streams: int
    tasks: int
    nodes: int
    memory: bool
    transport: TransportName
    checks_readiness: bool
    unsent_bytes: int
    retention: Retention
    answer_delay: float
    """Seconds by which the log answers a server later than it announces."""
    story: Story | None

    @classmethod
    def draw(cls, random: Random, options: Options) -> "Shape":
        """Draw the values that the options leave open."""
        is_wide = random.random() < 0.05  # noqa: PLR2004 -- such deployments cost much time
        values: dict[str, Any] = {
            "clients": 1 if is_wide else random.choice((1, 2, 3)),
            "channels": WIDE if is_wide else random.choice((1, 2)),
            "jobs": 3 if is_wide else random.choice((2, 4, 6)),
            "nodes": random.choice((1, 2, 2, 3)),
            "memory": random.random() < 0.15,  # noqa: PLR2004
            "transport": random.choice(("auto", "auto", "auto", "auto", "sse", "poll")),
            "checks_readiness": random.choice((True, False)),
            "unsent_bytes": random.choice((SMALL_BUFFER, 1024**2, 1024**2, 1024**2)),
            "retention": Retention(events=random.choice((2, 1_000, 1_000))),
        }
        values["answer_delay"] = 0.0 if values["memory"] else random.choice((0.0, 0.4))
        values["streams"] = random.choice((0, 0, 1, 1, 2))
        values["tasks"] = 0 if values["streams"] else random.choice((1, 2))
        story = draw_story(random)
        values |= story.shape if story else {}
        fixed = {name: getattr(options, name) for name in values}
        values |= {name: value for name, value in fixed.items() if value is not None}
        if values["memory"]:
            values["nodes"] = 1
        return cls(**values, story=story)
