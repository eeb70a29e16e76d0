"""Members of a channel who come and leave while faults happen, and the check of what they show."""

from random import Random

from realtime_bridge.client.transport_manager import TransportName
from realtime_bridge.testing.simulation.balancer import Balancer
from realtime_bridge.testing.simulation.client_network import ClientNetwork
from realtime_bridge.testing.simulation.deployment import Deployment
from realtime_bridge.testing.simulation.member import Member
from realtime_bridge.testing.simulation.network import Link
from realtime_bridge.testing.simulation.violations import Violations

SHARE = 0.08
"""Share of deployments with members, without a story; their runs are longer."""

TRANSPORTS: tuple[TransportName, ...] = ("auto", "auto", "poll")
"""Transports of the programs, as often as they are drawn."""

SETTLED_SECONDS = 60.0
"""Time after the last fault in which silent leases run out, and each client connects again."""

AWAY_SECONDS = (0.5, 20.0)
"""Time until a member that left comes back."""

CUT_SHARE, LEAVE_SHARE, RETURN_SHARE, KILL_SHARE = 0.4, 0.6, 0.6, 0.5
"""Shares of the members whose connections are reset, that leave, of those that come back, and that
leave without a close."""


class Members:
    """Programs that come, leave and return while faults happen.

    Args:
        simulation: the deployment.
        random: draws what they do.
        violations: receives violations.
        balancer: chooses their servers.
        count: the number of programs.

    """

    def __init__(
        self,
        simulation: Deployment,
        random: Random,
        violations: Violations,
        balancer: Balancer,
        count: int,
    ) -> None:
        self._simulation = simulation
        self._random = random
        self._violations = violations
        self._programs = [self._create(number, balancer) for number in range(count)]

    def start(self, span: float) -> None:
        """Plan what the programs do in the first `span` seconds."""
        if not self._programs:
            return
        loop, random = self._simulation.loop, self._random
        last = max((fault.end / 1_000 for fault in self._simulation.faults), default=0.0)
        for member in self._programs:
            at = random.uniform(0, 5)
            loop.call_later(at, member.start)
            if random.random() < CUT_SHARE:
                loop.call_later(random.uniform(at, span), member.cut)
            if random.random() < LEAVE_SHARE:
                at = random.uniform(at, span)
                leave = member.kill if random.random() < KILL_SHARE else member.end
                loop.call_later(at, leave)
                if random.random() < RETURN_SHARE:
                    at += random.uniform(*AWAY_SECONDS)
                    loop.call_later(at, member.start)
        last = max(last, span + AWAY_SECONDS[1])
        self._simulation.extend(last + SETTLED_SECONDS)

    def check_final_state(self) -> None:
        """Check that each program shows the users of the programs that run (I25)."""
        running = [member for member in self._programs if member.is_running]
        users = {member.user for member in running}
        for member in running:
            if member.error:
                self._violations.report("I25", f"{member.name} ended: {member.error!r}")
            if member.users != users:
                shown, expected = sorted(member.users), sorted(users)
                self._violations.report("I25", f"{member.name} shows {shown}, not {expected}")

    def stop(self) -> None:
        """End all programs."""
        for member in self._programs:
            member.end()

    def _create(self, number: int, balancer: Balancer) -> Member:
        loop, random = self._simulation.loop, self._random
        link = Link(loop, random, delay=random.choice((0.001, 0.02, 0.1)))
        network = ClientNetwork(loop, len(self._simulation.pages) + number, link, balancer)
        # The first two programs are of one user, who leaves with the last of them.
        user = f"m{max(0, number - 1)}"
        transport = random.choice(TRANSPORTS)
        return Member(self._simulation, number, user, network, transport)


def draw_members(random: Random) -> int:
    """Draw the number of programs; most deployments have none."""
    return random.choice((2, 3, 4)) if random.random() < SHARE else 0
