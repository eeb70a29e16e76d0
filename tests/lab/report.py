"""Report of a run: one line, and the story of a violation."""

from collections import Counter
from collections.abc import Iterator

from tests.lab.history import Record, merged
from tests.lab.oracle import growth
from tests.lab.run import Run
from tests.lab.view import Violation

BEFORE, AFTER = 5.0, 25.0
"""Seconds of the story before and after the violation."""

NAMED = 8
"""Most sources that a line names."""

LATE_SECONDS = 0.5
"""Delay of the lab from which on its links and clients, not the servers, may be the cause."""

SHOWN = 40
"""Most lines of a story."""

HEAD = (
    f"{'schedule':34} {'acked':>6} {'delivered':>9} {'resets':>6} {'silent':>7} "
    f"{'current':>8} {'green':>8} {'lines':>5}  verdict"
)


def line(run: Run) -> str:
    """Return the numbers of a run in one line."""
    verdict = run.verdict
    counts = Counter(violation.rule for violation in verdict.violations)
    outcome = " ".join(f"{rule}:{count}" for rule, count in counts.items())
    return (
        f"{verdict.schedule.name:34} {verdict.acknowledged:6} {verdict.delivered:9} "
        f"{verdict.resets:6} {verdict.silent_green:6.1f}s {verdict.current:7.1f}s "
        f"{verdict.green:7.1f}s {verdict.lines:5}  {f'FAILED {outcome}' if outcome else 'ok'}"
    )


def memory(run: Run) -> str:
    """Return the memory of each node at the end, and its growth after the warm-up."""
    sizes = {record.source: record.size for record in run.history.of("memory")}
    changes = growth(run.history)
    return "  memory: " + ", ".join(
        f"{node} {size / 2**20:.1f} MiB ({changes.get(node, 0):+.1%})"
        for node, size in sorted(sizes.items())
    )


def story(run: Run) -> Iterator[str]:
    """Yield the first violation of each rule, and the timeline around the gravest one."""
    violations = run.verdict.violations
    if violations and run.late >= LATE_SECONDS:
        yield f"  the lab was {run.late:.1f} s late: this machine was too busy for a verdict"
    for rule in dict.fromkeys(violation.rule for violation in violations):
        own = [violation for violation in violations if violation.rule == rule]
        sources = _listed(sorted({violation.source for violation in own}))
        first = own[0]
        yield f"  {rule}: {len(own)} by {sources}"
        yield f"    {first.at - run.start:.1f} s {first.source} {first.channel}: {first.text}"
    if violations:
        yield from (f"    {text}" for text in _timeline(run, violations[0]))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _timeline(run: Run, violation: Violation) -> list[str]:
    """Return the records that concern the violation, in the order of time."""
    records = [
        record
        for record in run.history.records
        if violation.at - BEFORE < record.at < violation.at + AFTER and _concerns(record, violation)
    ]
    lines = list(merged(records, run.start))
    if len(lines) <= SHOWN:
        return lines
    half = SHOWN // 2
    return [*lines[:half], f"… {len(lines) - SHOWN} lines …", *lines[-half:]]


def _concerns(record: Record, violation: Violation) -> bool:
    if record.kind == "line":
        return not record.text.startswith(" ")  # the body of a traceback
    if record.kind in ("fault", "healed"):
        return True
    if violation.source.startswith("node:"):
        return False
    if violation.channel and record.channel and record.channel != violation.channel:
        return False
    return record.source == violation.source or record.kind in ("acknowledged", "failed", "raised")
