"""Planted bugs: the simulation finds each, and reports the violated invariant.

Each test replaces a part of the library by a faulty one. That is the purpose of these tests, and
the only place where tests patch the library's private parts.
"""

from collections.abc import Callable
from typing import Any

import pytest

from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import ResetReason
from realtime_bridge.protocol import backoff
from realtime_bridge.protocol.client.poll_schedule import PollSchedule
from realtime_bridge.protocol.client.reducer import Deliver, Output, Reducer, Restart
from realtime_bridge.protocol.client.state import State
from realtime_bridge.protocol.client.transitions import Transitions
from realtime_bridge.testing.simulation import (
    STORMS,
    InvariantViolation,
    SimulationFailedError,
    check_storm,
    search,
)
from realtime_bridge.testing.simulation.client import Client
from realtime_bridge.testing.simulation.connection import ClientSocket, Positions
from realtime_bridge.testing.simulation.server import Servers

SEEDS = 4_000

event, hold, reset = Reducer.event, Reducer._hold, Reducer.reset


def deliver_duplicates(reducer: Reducer, one: Event) -> list[Output]:
    last, new = reducer.position, one.position
    if last and new and new.epoch == last.epoch and new.offset <= last.offset:
        return [Deliver(one)]
    return event(reducer, one)


def resubscribe_without_position(
    client: Client, socket: ClientSocket, channel: str, position: Position | None
) -> None:
    socket.requests[channel] = None
    client._send(socket, "subscribe", channel, None)


def clear_ids_at_an_epoch_change(
    reducer: Reducer,
    reason: ResetReason,
    top: Position | None,
    *,
    asked: Position | None = None,
) -> list[Output]:
    reducer._ids.clear()
    return reset(reducer, reason, top, asked=asked)


def two_polls_in_flight(schedule: PollSchedule) -> None:
    pass


def ignore_heartbeat_offsets(reducer: Reducer, offset: int) -> list[Output]:
    return []


def advance_on_buffered_events(reducer: Reducer, position: Position, one: Event) -> None:
    reducer.position = position if reducer.position else None
    hold(reducer, position, one)


def ignore_resets(
    reducer: Reducer,
    reason: ResetReason,
    top: Position | None,
    *,
    asked: Position | None = None,
) -> list[Output]:
    outputs = reset(reducer, reason, top, asked=asked)
    return [one for one in outputs if not isinstance(one, Restart)]


def apply_pages_in_any_order(
    reducer: Reducer, events: tuple[Event, ...], *, top: Position, more: bool
) -> list[Output]:
    reducer._recovering = False
    reducer._move(top)
    reducer.phase = "current"
    return [output for one in reversed(events) for output in reducer._handle(one)]


def do_nothing(*_: Any) -> None:
    pass


def poll_without_a_limit(state: State) -> None:
    state.poll_schedule.begin()
    state._do("poll")


def ignore_a_log_rollback(servers: Servers, one: Event) -> bool:
    return False


def answer_revoked_clients(
    servers: Servers, client: int, token: int, positions: Positions
) -> tuple[int, Any]:
    answers = {name: servers._simulation.log.read(name, at) for name, at in positions.items()}
    return 200, (answers, servers.generation, True)


MUTANTS: list[tuple[type, str, Callable[..., Any], str]] = [
    (Reducer, "event", deliver_duplicates, "I3"),
    (Client, "subscribe", resubscribe_without_position, "I2|I4"),
    (Reducer, "reset", clear_ids_at_an_epoch_change, "I3"),
    (PollSchedule, "begin", two_polls_in_flight, "I7"),
    (Reducer, "announced", ignore_heartbeat_offsets, "I2|I4"),
    (Reducer, "_hold", advance_on_buffered_events, "I1"),
    (Reducer, "reset", ignore_resets, "I1"),
    (Reducer, "page", apply_pages_in_any_order, "I1|I12"),
    (Transitions, "_on_silence", do_nothing, "I2|I4"),
    (Transitions, "_on_describe_again", do_nothing, "I2|I4|I5"),
    (State, "_on_poll", poll_without_a_limit, "I2|I4"),
    (Servers, "_contradicts", ignore_a_log_rollback, "I12|I2|I4"),
    (Servers, "poll", answer_revoked_clients, "I8"),
]


@pytest.mark.parametrize(
    ("where", "name", "mutant", "invariant"),
    MUTANTS,
    ids=[f"{m[2].__name__}-{m[1]}" for m in MUTANTS],
)
def test_planted_bug_is_found(
    where: type,
    name: str,
    mutant: Callable[..., Any],
    invariant: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(where, name, mutant)
    with pytest.raises(SimulationFailedError) as failed:
        search(range(SEEDS))
    error = failed.value.failure.error
    assert isinstance(error, InvariantViolation)
    assert error.invariant in invariant.split("|")


def test_jitter_before_the_cap_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def clipped(attempt: int, draw: float, *, base: float, floor: float, cap: float) -> float:
        return max(floor, min(cap, draw * base * 2.0**attempt))

    monkeypatch.setattr(backoff, "delay", clipped)
    at_the_cap = next(storm for storm in STORMS if storm.failures == 3)
    with pytest.raises(InvariantViolation, match="I6"):
        check_storm(at_the_cap, seed=1)


def test_reconnection_at_one_moment_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backoff, "delay", lambda *_, **__: 3.0)
    with pytest.raises(InvariantViolation, match="I6"):
        check_storm(STORMS[0], seed=1)
