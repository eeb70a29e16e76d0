"""Check of an application's intervals and limits, once and in one place."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

HOUR = 3_600_000

NEVER = HOUR * 24 * 365 * 100
"""Interval of what never happens, in milliseconds: a century."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """Default, smallest and largest value, and the values that mean never."""

    otherwise: int
    least: int
    most: int = HOUR
    never: tuple[object, ...] = ()


RULES: Mapping[str, _Rule] = {
    "polling_interval": _Rule(5_000, 250),
    "fallback_delay": _Rule(15_000, 250),
    "reconnect_interval": _Rule(3_000, 250),
    "max_reconnect_attempts": _Rule(5, 0, never=(False, math.inf)),
    "heartbeat_interval": _Rule(30_000, 250, never=(0, False, math.inf)),
}


def check_intervals(given: Mapping[str, Any]) -> tuple[dict[str, int], list[str]]:
    """Return valid intervals, and a sentence for each value that was replaced.

    The twin is `machine/options.ts`; both replay `tests/vectors/options.json`.
    """
    valid: dict[str, int] = {}
    problems: list[str] = []
    for name, rule in RULES.items():
        value = rule.otherwise if given.get(name) is None else given[name]
        valid[name] = _valid(value, rule)
        if valid[name] != NEVER and (valid[name] != value or isinstance(value, bool)):
            problems.append(f"{name} is {value!r}: {valid[name]} is used")
    return valid, problems


def _valid(value: object, rule: _Rule) -> int:
    # Not `in`, to which False equals 0.
    if any(value is never or _equals(value, never) for never in rule.never):
        return NEVER
    if value is False:
        return rule.least
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return rule.otherwise
    return math.floor(min(rule.most, max(rule.least, value)) + 0.5)


def _equals(value: object, never: object) -> bool:
    return not isinstance(value, bool) and not isinstance(never, bool) and value == never
