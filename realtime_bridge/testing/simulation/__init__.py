"""A deployment in virtual time, drawn by a seed: what can go wrong does, and nothing may be lost.

    from realtime_bridge.testing.simulation import Options, search

    def test_my_page_shows_every_job():
        search(range(500), options=Options(handler=MyPage))

`MyPage` is your own code behind the four methods of `Handler`; a simulation makes one for each of
its clients, which run the real state machine and the real reducers. Whatever it raises, and every
broken promise, ends the search with the seed and the smallest story. A script of your own is
`Simulation(seed, faults=[Fault(at=5_000, kind="half_open", client=0)]).run()`.

`python -m realtime_bridge.testing.simulation --seeds 1000` does the same for the library itself.
"""

from realtime_bridge.testing.simulation.faults import CLIENT, RARE, SERVER, Fault
from realtime_bridge.testing.simulation.handlers import Handler, JobBoard
from realtime_bridge.testing.simulation.invariant_checker import InvariantViolation
from realtime_bridge.testing.simulation.options import Options
from realtime_bridge.testing.simulation.search import (
    Failure,
    SimulationFailedError,
    search,
    simulate,
)
from realtime_bridge.testing.simulation.simulation import Simulation
from realtime_bridge.testing.simulation.storm import STORMS, Storm, check_storm

KINDS = (*CLIENT, *SERVER, *RARE)
"""The kinds of faults."""

__all__ = [
    "KINDS",
    "STORMS",
    "Failure",
    "Fault",
    "Handler",
    "InvariantViolation",
    "JobBoard",
    "Options",
    "Simulation",
    "SimulationFailedError",
    "Storm",
    "check_storm",
    "search",
    "simulate",
]
