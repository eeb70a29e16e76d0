"""Status of a client: never better than the connection."""

from typing import get_args

from realtime_bridge.protocol.client.commands import Mode
from realtime_bridge.protocol.client.machine import Machine
from realtime_bridge.protocol.client.status import LABELS, Kind


def test_only_live_is_realtime() -> None:
    for mode in get_args(Mode):
        machine = Machine()
        machine.mode, machine.last_ok = mode, 100_000
        assert (machine.connection_status(100_001).kind == "realtime") == (mode == "LIVE")


def test_every_kind_has_a_label() -> None:
    assert set(LABELS) == set(get_args(Kind))
