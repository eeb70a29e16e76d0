"""A badge is never greener than the connection, in any state it can get into."""

from typing import get_args

from realtime_bridge.protocol.client.commands import Mode, Options
from realtime_bridge.protocol.client.machine import Machine
from realtime_bridge.protocol.client.status import LABELS, Kind, status


def test_green_is_shown_in_one_mode_alone() -> None:
    for mode in get_args(Mode):
        machine = Machine(Options())
        machine.mode, machine.last_ok = mode, 100_000
        shown = status(machine, 100_001)
        assert (shown.kind == "realtime") == (mode == "LIVE")


def test_every_word_has_a_label() -> None:
    assert set(LABELS) == set(get_args(Kind))
