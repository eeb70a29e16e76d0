"""Status of a client: never better than the connection."""

from collections.abc import Callable
from typing import get_args

import pytest

from realtime_bridge.protocol.client.commands import Mode, Terms
from realtime_bridge.protocol.client.machine import Machine
from realtime_bridge.protocol.client.status import LABELS, Kind


def test_only_live_is_realtime() -> None:
    for mode in get_args(Mode):
        machine = Machine()
        machine.mode, machine.last_ok = mode, 100_000
        assert (machine.connection_status(100_001).kind == "realtime") == (mode == "LIVE")


def test_every_kind_has_a_label() -> None:
    assert set(LABELS) == set(get_args(Kind))


LONGEST_LIE = 18_000
"""Limit of invariant I17: the silence limit, and 3 s."""


def live_machine() -> Machine:
    """Return a machine that is live at 0, with a heartbeat at that time."""
    machine = Machine()
    machine.now, machine.draw = 0, 0.5
    machine.start()
    machine.descriptor_received(Terms())
    machine.opened(1)
    machine.ready(1)
    machine.health(1, ok=True, sent=0)
    machine.take_commands()
    return machine


def nothing_arrives(_: Machine, __: int) -> None:
    pass


def only_heartbeats_are_lost(machine: Machine, _: int) -> None:
    machine.message_received(1)


def lag_grows(machine: Machine, now: int) -> None:
    """Let each message travel as long as the fault has lasted, up to a minute."""
    machine.message_received(1)
    if now % 20_000 == 0:
        machine.health(1, ok=True, sent=now // 2)


def server_is_cut_off(machine: Machine, now: int) -> None:
    machine.message_received(1)
    if now % 10_000 == 0:
        machine.health(1, ok=False, sent=now)


@pytest.mark.parametrize(
    "fault", [nothing_arrives, only_heartbeats_are_lost, lag_grows, server_is_cut_off]
)
def test_realtime_ends_in_time_while_nothing_can_arrive(
    fault: Callable[[Machine, int], None],
) -> None:
    machine = live_machine()
    for now in range(500, 60_000, 500):
        machine.now, machine.draw = now, 0.5
        fault(machine, now)
        machine.tick()
        machine.poll_succeeded()
        machine.take_commands()
        if now > LONGEST_LIE:
            assert machine.connection_status(now).kind != "realtime", now
