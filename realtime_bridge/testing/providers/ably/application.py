"""State of a local Ably application, shared by its REST API and its connections."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from realtime_bridge.testing.providers.ably.channels import Channels
from realtime_bridge.testing.providers.ably.grant import Grant, now
from realtime_bridge.testing.providers.ably.keys import Keys
from realtime_bridge.testing.providers.ably.members import Rooms
from realtime_bridge.testing.providers.ably.protocol import AblyError
from realtime_bridge.testing.providers.changes import Changes
from realtime_bridge.testing.providers.faults import Faults

SESSION_MILLISECONDS = 120_000
"""Time for which a lost connection can be resumed (Ably docs, connection state: 2 minutes)."""

RENEWAL_SECONDS = 30.0

ABSENCE_SECONDS = 15.0
"""Time for which the members of a lost connection stay (Ably docs, presence)."""


@dataclass(kw_only=True)
class Session:
    """State of a connection that outlives its socket.

    Args:
        id: the public name of the connection.
        key: the secret with which its client resumes the connection.
        next_serial: the number of the next message from the client.
        disconnected_at: the end of its socket, in milliseconds since the Unix epoch.

    """

    id: str
    key: str
    next_serial: int = 0
    disconnected_at: int | None = None


class Sessions:
    """Connections that are open, or that can be resumed."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}

    def open(self, resumed_key: str | None) -> tuple[Session, AblyError | None]:
        """Return the resumed session, or a new session and the reason for it."""
        self._expire()
        if resumed := self._sessions.get(resumed_key or ""):
            resumed.disconnected_at = None
            return resumed, None
        identity = secrets.token_urlsafe(8)
        session = Session(id=identity, key=f"{identity}!{secrets.token_urlsafe(16)}")
        self._sessions[session.key] = session
        # A new connection id together with an error is how a client learns of the loss.
        lost = AblyError(80018, 400, "Unable to resume the connection: it is not known")
        return session, lost if resumed_key else None

    def remove(self, session: Session) -> None:
        """Remove a closed session, which cannot be resumed."""
        self._sessions.pop(session.key, None)

    def _expire(self) -> None:
        before = now() - SESSION_MILLISECONDS
        self._sessions = {
            key: session
            for key, session in self._sessions.items()
            if session.disconnected_at is None or session.disconnected_at > before
        }


class Revocable(Protocol):
    """Open connection of a client, as its application uses it."""

    @property
    def grant(self) -> Grant:
        """Permissions of its token."""

    def end(self, error: AblyError | None) -> None:
        """End the connection with a reason."""


class AblyApplication:
    """Keys, channels, sessions, faults and counters of one application.

    Args:
        key: `APPID.KEYID:SECRET`, for the SDKs and for servers that sign tokens.

    """

    def __init__(self, key: str) -> None:
        self.key = key
        self.keys: Keys = Keys(key)
        self.faults: Faults = Faults()
        self.channels: Channels = Channels(self.faults)
        self.rooms: Rooms = Rooms()
        self.sessions: Sessions = Sessions()
        self.changes: Changes = Changes()
        self.calls = self.accepted = 0
        """Number of API calls, and number of accepted connections, since the start."""
        self.renewal_seconds = RENEWAL_SECONDS
        """Time before a token's expiry at which its client is asked for a new token."""
        self.absence_seconds = ABSENCE_SECONDS
        """Time after which a lost connection is no longer present."""
        self.open_connections: set[Revocable] = set()

    def revoke(self, targets: Sequence[str]) -> None:
        """Revoke tokens, and end the connections that use them."""
        self.keys.revoke(targets)
        for connection in list(self.open_connections):
            if any(connection.grant.is_target(target) for target in targets):
                connection.end(AblyError(40141, 401, "Token revoked"))
