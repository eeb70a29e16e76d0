"""Parts of the server that every connection uses."""

from dataclasses import dataclass

from realtime_bridge.backend.supervisor import Supervisor
from realtime_bridge.protocol.session.session_commands import ConnectionLimits
from realtime_bridge.server.auth.access import ChannelAccess
from realtime_bridge.server.auth.authenticator import Authenticator
from realtime_bridge.server.auth.channel_budget import ChannelBudget
from realtime_bridge.server.fanout.hub import Hub
from realtime_bridge.server.fault_log import FaultLog
from realtime_bridge.server.lifecycle.status import ServerStatus
from realtime_bridge.server.presence import Presence
from realtime_bridge.server.registry import ConnectionRegistry
from realtime_bridge.server.rejection_log import RejectionLog
from realtime_bridge.server.statistics import ServerStatistics
from realtime_bridge.server.timer_wheel import TimerWheel
from realtime_bridge.server.timing import ServerTiming


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionServices:
    """Parts of the server that its connections share, so that each refers to one object.

    Args:
        authenticator: verifies the tokens of clients.
        access: decides who may subscribe to a channel.
        hub: delivers the events.
        registry: the connected clients.
        budget: the channels that each user may still request.
        rejections: reports clients that go beyond a limit.
        faults: reports mistakes in code that requests reach.
        statistics: counts of this run.
        timers: wakes the connections.
        presence: announces the users that are present on channels.
        status: the generation, and whether the log answers.
        tasks: owner of the tasks of a started server.
        limits: the limits of one connection.
        unsent_bytes: the bytes that may wait for a client before it counts as slow.
        timing: the durations of the server.

    """

    authenticator: Authenticator
    access: ChannelAccess
    hub: Hub
    registry: ConnectionRegistry
    budget: ChannelBudget
    rejections: RejectionLog
    faults: FaultLog
    statistics: ServerStatistics
    timers: TimerWheel
    presence: Presence
    status: ServerStatus
    tasks: Supervisor | None
    limits: ConnectionLimits
    unsent_bytes: int
    timing: ServerTiming
