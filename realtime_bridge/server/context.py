"""What the routes share: who is who here, and what they go through."""

import asyncio
import hashlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from realtime_bridge.backend.log import Log
from realtime_bridge.errors import RealtimeError
from realtime_bridge.model import ids
from realtime_bridge.protocol.session.session_commands import ConnectionLimits
from realtime_bridge.protocol.wire import messages
from realtime_bridge.publishing.broadcaster import Broadcaster
from realtime_bridge.publishing.failover import CHANNEL as MOVES
from realtime_bridge.server.auth.origins import from_here, origin_allowed
from realtime_bridge.server.auth.revocations import CONTROL, Revocations
from realtime_bridge.server.auth.rules import ChannelRules, call_maybe_async
from realtime_bridge.server.auth.signatures import Signatures
from realtime_bridge.server.auth.tokens import TOKEN_SECONDS, Principal, TokenError, Tokens
from realtime_bridge.server.fanout.hub import Hub
from realtime_bridge.server.http.request import HTTPError, Request
from realtime_bridge.server.lifecycle.failover_targets import Carriers
from realtime_bridge.server.lifecycle.lazy_start import LazyStart
from realtime_bridge.server.registry import ConnectionRegistry
from realtime_bridge.server.timer_wheel import TimerWheel
from realtime_bridge.settings import Settings

Identity = Principal | str | int | None
Authenticate = Callable[[Request], Identity] | Callable[[Request], Awaitable[Identity]]

AGAIN_SECONDS = 1.0
"""How long a log that does not answer is left alone."""

INTERNAL = frozenset({CONTROL, MOVES})
"""The channels on which servers and workers talk to each other; no client may listen to them."""

STATE = "realtime_bridge"
"""What the lifespan state has this under, for the fast shell to find it."""

logger = logging.getLogger("realtime_bridge.server")


@dataclass(slots=True, kw_only=True)
class ServerContext:
    """The parts of one server."""

    settings: Settings
    dev: bool
    authenticate: Authenticate | None
    rules: ChannelRules
    tokens: Tokens
    signatures: Signatures
    broadcaster: Broadcaster
    log: Log
    hub: Hub
    started: bool = False
    generation: int = 0
    connections: Counter[str] = field(default_factory=Counter)
    """How many sockets each user has open here."""
    clients: ConnectionRegistry = field(default_factory=ConnectionRegistry)
    wheel: TimerWheel = field(default_factory=TimerWheel)
    revocations: Revocations = field(init=False)
    connection_limits: ConnectionLimits = field(init=False)
    """What one connection may ask for."""
    unstarted: LazyStart | None = None
    """What makes single requests possible without a start, where nothing needs one."""
    tasks: asyncio.TaskGroup | None = None
    """Where what has no task of its own does what takes time, while the server is started."""

    def __post_init__(self) -> None:
        self.revocations = Revocations(self)
        self.connection_limits = ConnectionLimits(
            channels=self.settings.limit_channels_per_connection,
            frames_per_second=self.settings.limit_frames_per_second,
            frame_bytes=self.settings.limit_frame_bytes,
        )

    @property
    def logged(self) -> bool:
        """Tell whether there is a log: else events are hints."""
        return self.broadcaster.log is not None

    @property
    def carriers(self) -> Carriers:
        """Who delivers."""
        return Carriers(self.broadcaster.backend)

    @property
    def delivery(self) -> str:
        """What clients have to move for when it changes."""
        failover = self.carriers.failover
        return self.settings.delivery + (f" {failover.active.name}" if failover else "")

    @property
    def alone(self) -> bool:
        """Tell whether nothing runs here but the request that is answered."""
        return self.unstarted is not None and not self.started

    @property
    def healthy(self) -> bool:
        """Tell whether clients hear all there is by what we push to them."""
        return self.hub.healthy

    @property
    def status(self) -> dict[str, str]:
        """What works, in the words of the wire."""
        return {"log": "ok" if self.hub.healthy or self.alone else "down", "backend": "ok"}

    def status_frame(self) -> bytes:
        """Return the word on it to a client."""
        return messages.encode("status", **self.status)

    def report(self) -> None:
        """Tell all clients what works now; they poll while something does not."""
        self.clients.tell(self.status_frame())

    async def learn_generation(self) -> None:
        """Ask the log which generation of the configuration this is, until it answers."""
        while True:
            try:
                self.generation = await self.log.generation(self.delivery)
            except RealtimeError as error:
                logger.warning("the generation is not known yet: %s", error)
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return

    async def allow(self, principal: Principal, channel: str) -> bool:
        """Tell whether this user may listen to `channel` now.

        Raises:
            Exception: whatever the channel's rule raised.

        """
        if channel in INTERNAL or not self.revocations.allow(principal, channel):
            return False
        return await self.rules.allow(principal, channel)

    def pushes_to(self, user: str) -> bool:
        """Tell whether this user gets push: by the flag, and by the share that is rolled out.

        The share is taken by a stable hash, so that a larger one only ever adds users.
        """
        digest = hashlib.sha256(f"{self.settings.prefix}:{user}".encode()).digest()
        share = int.from_bytes(digest[:8]) % 100
        return self.settings.enabled and share < self.settings.rollout_percent

    def seat(self, user: str) -> bool:
        """Count one more socket of `user`, if there may be one more."""
        if self.connections[user] >= self.settings.limit_connections_per_user:
            return False
        self.connections[user] += 1
        return True

    def leave(self, user: str) -> None:
        """Count one socket less."""
        self.connections[user] -= 1
        if not self.connections[user]:
            del self.connections[user]

    async def wake(self) -> None:
        """Be ready for a request, started or not where that can be.

        Raises:
            HTTPError: 503.

        """
        if self.unstarted and not self.started:
            await self.unstarted.wake()
        else:
            self.check_started()

    def check_started(self) -> None:
        """Refuse to work before we do.

        Raises:
            HTTPError: 503.

        """
        if not self.started:
            raise HTTPError(
                503,
                "not_started",
                "The bridge was not started, and a mounted application is not by itself: give the "
                "outer one lifespan=bridge.lifespan, or run `async with bridge` in its own",
            )

    def check_open(self) -> None:
        """Refuse what would have to be ended at once.

        Raises:
            HTTPError: 503; 404, where a hosted provider delivers and there is no log.

        """
        self.check_started()
        if self.clients.draining:
            raise HTTPError(
                503, "draining", "This server stops: try again", headers={"retry-after": "1"}
            )
        if not self.logged:
            raise HTTPError(
                404,
                "no_log",
                "Without a log this server has nothing to push: the descriptor says who does",
            )

    def admit(self, request: Request) -> Principal | None:
        """Let a client open a socket; return who it is where that is known before its token.

        Raises:
            HTTPError: it may not.

        """
        self.check_open()
        self.check_origin(request)
        return self.development_user(request)

    def check_origin(self, request: Request) -> None:
        """Refuse a page that may not connect.

        Raises:
            HTTPError: 403.

        """
        origin, host = request.headers.get("origin"), request.headers.get("host")
        if not origin_allowed(origin, host, self.settings.origins):
            raise HTTPError(
                403,
                "bad_origin",
                f"Pages of {origin[:100] if origin else origin} may not connect: "
                "name it in REALTIME_ORIGINS",
            )

    def development_user(self, request: Request) -> Principal | None:
        """Return whom `?userId=` names: with `--dev` alone, and to pages of this machine.

        A page of another host whose name was made to point here (DNS rebinding) is none of them.

        Raises:
            HTTPError: 401, otherwise.

        """
        user = request.query_params.get("userId")
        if user is None:
            return None
        if not self.dev or not from_here(request.headers.get("origin")):
            raise HTTPError(
                401, "no_token", "userId in the URL proves nothing: connect with a token"
            )
        return Principal(user=user, client=ids.client_id())

    async def identify(self, request: Request) -> Principal:
        """Return whom an HTTP request acts for: by its token, or by the application's session.

        Raises:
            HTTPError: 401, nobody.

        """
        self.check_origin(request)
        token = request.bearer()
        if token is not None:
            return self._verify(token)
        principal = self.development_user(request) or await self._ask_application(request)
        if principal is None:
            raise HTTPError(401, "not_signed_in", "Sign in first, or send a token")
        return principal

    def _verify(self, token: str) -> Principal:
        try:
            principal = self.tokens.verify(token)
        except TokenError as error:
            raise HTTPError(401, "bad_token", str(error)) from error
        if not self.revocations.allow(principal):
            raise HTTPError(401, "revoked", "Access was revoked: sign in anew")
        return principal

    async def _ask_application(self, request: Request) -> Principal | None:
        if self.authenticate is None:
            return None
        identity = await call_maybe_async(self.authenticate, request)
        if isinstance(identity, Principal):
            return identity
        if identity in (None, "") or isinstance(identity, bool):
            return None
        return Principal(
            user=str(identity),
            client=ids.client_id(),
            expires=time.time() + TOKEN_SECONDS,
        )
