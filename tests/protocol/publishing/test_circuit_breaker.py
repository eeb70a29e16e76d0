"""Failures that switch to another target, and probes that fail back."""

from realtime_bridge.protocol.publishing.circuit_breaker import (
    MAX_PROBES,
    PROBE_SECONDS,
    CircuitBreaker,
    FailbackPolicy,
)


def failures(circuit: CircuitBreaker, *times: float) -> list[bool]:
    return [circuit.record_failure(now) for now in times]


def test_five_failures_within_30_seconds_switch_the_target() -> None:
    assert failures(CircuitBreaker(), 0, 7, 14, 21, 30) == [False, False, False, False, True]


def test_failures_further_apart_switch_no_target() -> None:
    assert not any(failures(CircuitBreaker(), *range(0, 200, 8)))


def test_success_resets_the_count_of_failures() -> None:
    circuit = CircuitBreaker()
    assert not any(failures(circuit, 0, 1, 2, 3))
    circuit.record_success()
    assert not any(failures(circuit, 4, 5, 6, 7))
    assert circuit.record_failure(8)


def probes(policy: FailbackPolicy, start: float, *, well: bool = True) -> int:
    """Return how many tries it took, one after another whenever one was due."""
    now, tries = start, 0
    while tries < 2 * MAX_PROBES:
        if policy.is_due(now):
            tries += 1
            if policy.record_probe(now, accepted=well):
                return tries
        now += PROBE_SECONDS / 3
    return tries


def test_three_successful_probes_fail_back() -> None:
    policy = FailbackPolicy()
    policy.record_switch(0)
    assert [policy.is_due(now) for now in (0, 29, 30, 31, 59, 60)] == [
        *(False, False, True, False, False, True)
    ]
    assert not policy.record_probe(30, accepted=True)
    assert not policy.record_probe(60, accepted=True)
    assert policy.record_probe(90, accepted=True)


def test_failed_probe_resets_the_count() -> None:
    policy = FailbackPolicy()
    policy.record_switch(0)
    for now, well in ((30, True), (60, True), (90, False), (120, True), (150, True)):
        assert not policy.record_probe(now, accepted=well)
    assert policy.record_probe(180, accepted=True)


def test_relapsing_target_needs_more_probes() -> None:
    policy = FailbackPolicy()
    now, needed = 0.0, []
    for _ in range(5):
        policy.record_switch(now)
        needed.append(probes(policy, now))
        now += (needed[-1] + 1) * PROBE_SECONDS
    assert needed == [3, 6, 12, 24, 24]
    now += 10_000
    policy.record_switch(now)
    assert probes(policy, now) == 3
