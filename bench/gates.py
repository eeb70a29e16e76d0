"""Goals of the measurements, as ratios of processor time: the rates of two machines differ."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Gate:
    """Goal of one scenario.

    Args:
        scenario: name of the scenario.
        meaning: the measured ratio, as a phrase.
        value: returns the ratio from a scenario's result.
        least: the least ratio that meets the goal.

    """

    scenario: str
    meaning: str
    value: Callable[[Mapping[str, Any]], float]
    least: float

    def sentence(self, result: Mapping[str, Any]) -> str:
        """Return one sentence with the ratio, the goal and whether it is met."""
        value = self.value(result)
        verdict = "is met" if self.is_met(result) else "is missed"
        return f"{self.meaning}: {value:.2f}; the goal of {self.least:.2f} {verdict}."

    def is_met(self, result: Mapping[str, Any]) -> bool:
        """Return whether a result meets the goal."""
        return self.value(result) >= self.least


def _by_cpu(result: Mapping[str, Any]) -> float:
    return float(result["ours"]["cpu_ratio"])


def _growth(result: Mapping[str, Any]) -> float:
    return float(result["limit"]["grows by"] / result["ours"]["grows by"])


_SHARE = "The C server's processor time per delivery, as a share of ours"
GATES = (
    Gate("fanout-1000", _SHARE, _by_cpu, 0.97),
    Gate("fanout-100", _SHARE, _by_cpu, 0.95),
    Gate("fanout-5000", _SHARE, _by_cpu, 0.95),
    Gate("bursts", _SHARE, _by_cpu, 0.95),
    Gate("channels", _SHARE, _by_cpu, 0.85),
    Gate("singles", _SHARE, _by_cpu, 0.80),
    Gate("growth", "The C server's growth, as a share of ours", _growth, 1 / 1.15),
    Gate(
        "connecting",
        "Reference calls per connection that fit into the goal of 150 µs, as a share of ours",
        lambda result: CONNECT_CALLS * float(result["reference_us"]) / float(result["cpu_us"]),
        1.0,
    ),
)

CONNECT_CALLS = 1_500
"""Reference calls of 0.1 µs that take 150 µs."""


def gate_of(scenario: str) -> Gate | None:
    """Return the goal of a scenario, if it has one."""
    return next((gate for gate in GATES if gate.scenario == scenario), None)
