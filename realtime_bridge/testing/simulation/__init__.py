"""Simulation of a deployment with faults, drawn from a seed, in virtual time.

Servers, clients and publishers are the real ones, unmodified. The clock, the network, the random
numbers and the log's server are simulated.

    from realtime_bridge.testing.simulation import Options, search

    def test_my_page_shows_every_job():
        search(range(500), options=Options(handler=MyPage))

`MyPage` is your own code with the four methods of `Handler`. A simulation creates a handler for
each of its clients. An error of a handler, or a violated invariant, ends the search; the failure
contains the seed and the fewest faults that reproduce it. To choose the faults yourself, run
`Simulation(seed, faults=[Fault(at=5_000, kind="half_open", target=0)]).run()`.

`python -m realtime_bridge.testing.simulation --seeds 1000` tests the library itself.
"""

from realtime_bridge.testing.simulation.faults import (
    CLIENT_FAULTS,
    NODE_FAULTS,
    RARE_FAULTS,
    SECRET_FAULTS,
    SHARED_FAULTS,
    Fault,
)
from realtime_bridge.testing.simulation.handlers import Handler, JobBoard
from realtime_bridge.testing.simulation.options import Options
from realtime_bridge.testing.simulation.search import (
    Failure,
    SimulationFailedError,
    search,
    simulate,
)
from realtime_bridge.testing.simulation.simulation import Simulation
from realtime_bridge.testing.simulation.storm import STORMS, Storm, check_storm
from realtime_bridge.testing.simulation.violations import InvariantViolation

FAULT_KINDS = (*CLIENT_FAULTS, *NODE_FAULTS, *SHARED_FAULTS, *RARE_FAULTS, *SECRET_FAULTS)
"""Kinds of faults."""

__all__ = [
    "FAULT_KINDS",
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
