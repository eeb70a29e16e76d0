"""Durations of a server."""

from dataclasses import dataclass, field

from realtime_bridge.backend.supervisor import SupervisorTiming
from realtime_bridge.protocol.outlets.timing import OutletTiming
from realtime_bridge.protocol.pusher.session_commands import PusherTiming
from realtime_bridge.protocol.session.timing import SessionTiming


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTiming:
    """Durations of one server, in seconds."""

    session: SessionTiming = field(default_factory=SessionTiming)
    """Durations of each client's session."""

    pusher: PusherTiming = field(default_factory=PusherTiming)
    """Durations of each connection of Pusher's protocol."""

    outlets: OutletTiming = field(default_factory=OutletTiming)
    """Durations of outlets."""

    start: float = 5.0
    """Time to wait for the feed at the start; then the server starts, and is not ready."""

    position_check: float = 10.0
    """Interval at which positions are compared with the log's, because announcements get lost."""

    announcement: float = 0.5
    """Time that an announcement may take before it counts as lost."""

    restart: float = 1.0
    """Wait before a broken feed, or a log that does not answer, is tried again."""

    quiet: float = 5.0
    """Time without a failure after which an outage counts as over in the process's log."""

    file_check: float = 5.0
    """Interval at which the server checks that it may open a file."""

    presence_lease: int = 25
    """Silence of a server after which its members are absent. With a position check and the
    moment that readers wait, the members of a killed server leave within 40 s."""

    presence_renewal: float = 5.0
    """Interval at which the members of a server are renewed."""

    presence_stay: float = 2.0
    """Time for which a user stays present after the last connection: a page may reload."""

    presence_poll: float = 30.0
    """Time for which a poll makes its user present."""

    job_hook: float = 5.0
    """The longest time of a hook after a cancel or an answer of a job."""

    hand_over: float = 10.0
    """Time without feed or log after which clients are sent to other servers."""

    close: float = 1.0
    """Time for a client to read the last messages before its connection is aborted."""

    poll_wait: float = 20.0
    """The longest wait of a long poll; Heroku's router, for one, ends a request after 30 s."""

    poll_cache: float = 0.25
    """Time that an answer of the log serves other polls from the same position."""

    generation: float = 3.0
    """Time in which clients get to know another generation; their moves are spread over it."""

    lazy_refresh: float = 5.0
    """Age at which a server that never starts reads again what the other servers announced."""

    @property
    def supervision(self) -> SupervisorTiming:
        """Durations of background work's restarts."""
        return SupervisorTiming(
            restart=self.restart, longest=5 * self.restart, settled=self.restart
        )
