"""The bridge: the ASGI application that an application mounts and publishes through."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from operator import attrgetter
from types import TracebackType
from typing import Any, Self

from realtime_bridge.backend.environment import load_settings
from realtime_bridge.backend.supervisor import Supervisor
from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model.user import UserId
from realtime_bridge.publishing.local_servers import register_local_server
from realtime_bridge.publishing.pipeline import PublishPipeline, server_pipeline
from realtime_bridge.publishing.undeclared import UndeclaredEvents
from realtime_bridge.server.auth.access import ChannelAccess
from realtime_bridge.server.auth.authenticator import Authenticate, Authenticator
from realtime_bridge.server.auth.local_guard import development_guard
from realtime_bridge.server.auth.operators import Operators
from realtime_bridge.server.auth.presence_info import PresenceInfo
from realtime_bridge.server.auth.revocations import Revocation, RevocationReceipt, Revocations
from realtime_bridge.server.auth.rules import ChannelRules
from realtime_bridge.server.auth.signatures import Signatures
from realtime_bridge.server.auth.tokens import TOKEN_SECONDS, Tokens
from realtime_bridge.server.context import STATE, ServerContext, build_context
from realtime_bridge.server.http.origins import Origins
from realtime_bridge.server.http.request import ASGIApplication, Receive, Scope, Send
from realtime_bridge.server.jobs import ServerJobs
from realtime_bridge.server.lifecycle.asgi_lifespan import run_lifespan
from realtime_bridge.server.lifecycle.lazy_start import LazyStart
from realtime_bridge.server.lifecycle.pipeline import ServerPipeline
from realtime_bridge.server.lifecycle.provider_revocation import revoke_at_providers
from realtime_bridge.server.lifecycle.signals import drained_first
from realtime_bridge.server.lifecycle.start_on_demand import StartOnDemand, has_lifespan
from realtime_bridge.server.lifecycle.worker_lock import only_worker
from realtime_bridge.server.outlets.outlets import Outlets
from realtime_bridge.server.publisher import ServerPublisher
from realtime_bridge.server.pusher.routes import PusherRoutes
from realtime_bridge.server.pusher.settings import PusherAppSettings
from realtime_bridge.server.recent_warnings import RecentWarnings
from realtime_bridge.server.registrations import Registrations
from realtime_bridge.server.routes import Routes
from realtime_bridge.server.timing import ServerTiming
from realtime_bridge.settings import Settings

_TIMING = ServerTiming()


class Bridge(ServerPublisher, Registrations):
    """ASGI application that delivers events from the log to browsers.

    Mount it at any path. Start it by `lifespan`, by `async with`, or serve it alone.

    Args:
        settings: the configuration.
        authenticate: function that returns a request's user: an id, a `Principal`, or None.
            Without it, each request needs a token signed with the secret.
        dev: development mode: clients of this machine alone may connect, pages choose their
            user by `?userId=`, and a public secret signs tokens.
        timing: the durations of the server.
        pipeline: the log and the backend, in place of those that the settings name.

    Raises:
        ConfigurationError: no secret is set, a secret is set with `dev`, or the log has no feed.

    """

    def __init__(
        self,
        settings: Settings,
        *,
        authenticate: Authenticate | None = None,
        dev: bool = False,
        timing: ServerTiming = _TIMING,
        pipeline: PublishPipeline | None = None,
    ) -> None:
        parts = pipeline or server_pipeline(settings)
        guard = development_guard(settings) if dev else None
        secret = settings.server_secret(dev=dev)
        self._settings = settings
        self._timing = timing
        self._pipeline = ServerPipeline(settings, parts)
        self._rules = ChannelRules()
        self._controls = ChannelRules("control rule", attrgetter("controls"))
        self._presence = PresenceInfo()
        self._operators, self._warnings = Operators(), RecentWarnings()
        self._revocations = Revocations()
        self._tokens = Tokens(secret, issuer=settings.prefix)
        self._signatures = Signatures(secret)
        verifiers, origins = (self._tokens, self._revocations), Origins(settings.origins, dev=dev)
        self._authenticator = Authenticator(
            *verifiers, origins=origins, authenticate=authenticate, guard=guard
        )
        self._pusher_app = PusherAppSettings.load().app if settings.pusher_door else None
        self._jobs = ServerJobs(self._pipeline, hook_seconds=timing.job_hook)
        self._undeclared = UndeclaredEvents.from_setting(settings.undeclared_events)
        self._outlets = Outlets(settings, timing.outlets)
        self._has_own_log = self._pipeline.log.remote_access_via is not None
        self._exits = AsyncExitStack()
        self._start_on_demand = StartOnDemand(self.__aenter__, retry=timing.restart)
        self._use_idle_context()

    @classmethod
    def from_env(cls, *, authenticate: Authenticate | None = None, dev: bool | None = None) -> Self:
        """Create the bridge from the `REALTIME_*` environment variables.

        Args:
            authenticate: as for `Bridge`.
            dev: as for `Bridge`; `REALTIME_DEV` by default.

        Raises:
            ConfigurationError: the configuration is not valid; the message names the remedy.

        """
        settings = load_settings()
        return cls(settings, authenticate=authenticate, dev=settings.dev if dev is None else dev)

    @property
    def path(self) -> str:
        """URL path of the bridge when it is served alone."""
        return self._settings.path

    @property
    def pusher_door(self) -> ASGIApplication:
        """Application to mount at `/app` and at `/apps`, for Pusher's clients and server SDKs.

        A bridge that is served alone answers these paths itself.

        Raises:
            ConfigurationError: `REALTIME_PUSHER_DOOR` is off.

        """
        if self._pusher_app is None:
            raise ConfigurationError(
                "The server does not speak Pusher's protocol: set REALTIME_PUSHER_DOOR=true"
            )
        return self._serve_pusher

    def issue_token(
        self,
        user: str,
        *,
        channels: Iterable[str] = (),
        controls: Iterable[str] = (),
        seconds: float = TOKEN_SECONDS,
    ) -> str:
        """Return a token for a user's page; see `Tokens.issue`."""
        return self._tokens.issue(user, channels=channels, controls=controls, seconds=seconds)

    async def revoke(
        self, *, user: UserId | None = None, channel: str | None = None
    ) -> RevocationReceipt:
        """Revoke access on all servers within a second, and at the hosted providers.

        Earlier tokens become invalid. Make your rules and sessions deny access first, since a
        client that reconnects passes through them.

        Args:
            user: close this user's connections with code 4403; an id as of `authenticate`.
            channel: end all subscriptions to this channel; with `user`, that user's alone.

        Returns:
            What cannot be ended: connections to a provider of programs without this library.

        Raises:
            ConfigurationError: neither is given, or there is no log.
            InvalidIdentityError, InvalidEventError: the user's id or the channel is not valid.
            PublishError: the log failed, so the other servers do not know of the revocation.

        """
        revocation = Revocation.create(user, channel)
        if not self._pipeline.has_log:
            raise ConfigurationError(
                "Servers announce a revocation through the log, and there is none: set REALTIME_LOG"
            )
        await self.publish_many([revocation.event()])
        remaining = list(await revoke_at_providers(self._pipeline.hosted_backends, revocation))
        if self._pusher_app and revocation.user is not None:
            remaining.append("Pusher's clients that did not sign in keep their channels")
        return RevocationReceipt.for_log(*remaining, is_in_memory=self._has_own_log)

    async def drain(self) -> None:
        """Drain the connections: clients leave one after another and reconnect elsewhere.

        SIGTERM and Ctrl-C drain before the server closes its sockets. Call this method if something
        else stops your server. Draining takes up to `REALTIME_GRACE_SECONDS`, less a margin for
        requests in progress. This server is then not ready, and rejects new connections.
        """
        await self._context.registry.drain(self._settings.grace_seconds)

    @asynccontextmanager
    async def lifespan(self, _app: object = None) -> AsyncGenerator[dict[str, Any]]:
        """Run the bridge during the application's lifespan: `FastAPI(lifespan=bridge.lifespan)`."""
        async with self:
            yield self.state

    @property
    def state(self) -> dict[str, Any]:
        """Lifespan state for the fast WebSocket protocol; yield it from your own lifespan."""
        return {STATE: self._context}

    async def __aenter__(self) -> Self:
        if self._context.status.is_started:
            raise ConfigurationError("This bridge is already started: start it in one place")
        async with AsyncExitStack() as exits:
            prefix, has_own_log = self._settings.prefix, self._has_own_log
            if has_own_log:
                exits.enter_context(only_worker(prefix))
            broadcaster = await exits.enter_async_context(self._pipeline.broadcaster)
            exits.callback(self._use_idle_context)
            tasks = await exits.enter_async_context(Supervisor(timing=self._timing.supervision))
            context = self._use_context(tasks, is_serverless=False)
            tasks.run("feed", lambda: context.hub.run(lambda: tasks.confirm("feed")), confirms=True)
            # Exits run in reverse order: clients are closed while the hub still runs.
            exits.callback(context.registry.close)
            await context.hub.wait_until_ready(self._timing.start)
            parts = (context.hub, self._pipeline.log, context.connections.statistics)
            outlets = self._outlets.background_work(*parts)
            webhooks = self._pusher.background_work() if self._pusher else {}
            for name, work in (context.background_work() | outlets | webhooks).items():
                tasks.run(name, work)
            exits.enter_context(register_local_server(prefix, broadcaster, has_own_log=has_own_log))
            if self._operators.has_rule or self._authenticator.guard:
                exits.enter_context(self._warnings.listening())
            exits.enter_context(drained_first(self.drain, context.registry.close, tasks))
            self._exits = exits.pop_all()
        context.status.is_started = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._context.status.is_started = False
        await self._exits.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "lifespan":
            await run_lifespan(self, lambda: self.state, scope, receive, send)
            return
        await self._start_for(scope)
        await self._routes(scope, receive, send)

    async def _serve_pusher(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._start_for(scope)
        await self._routes.serve_pusher(scope, receive, send)

    async def _start_for(self, scope: Scope) -> None:
        if not (self._context.status.is_started or self._lazy_start or has_lifespan(scope)):
            self._context.status.obstacle = await self._start_on_demand.run()

    def _use_idle_context(self) -> None:
        """Answer without a start, where a provider delivers and the log is outside this process."""
        is_serverless = bool(self._pipeline.hosted_backends) and not self._has_own_log
        self._use_context(None, is_serverless=is_serverless)

    def _use_context(self, tasks: Supervisor | None, *, is_serverless: bool) -> ServerContext:
        """Answer requests with the parts of a new run, and return them."""
        self._context = context = build_context(
            self._settings,
            self._pipeline,
            self._authenticator,
            ChannelAccess(
                self._rules,
                self._controls,
                self._revocations,
                has_presence=lambda: self._pipeline.has_presence,
            ),
            self._presence,
            tokens=self._tokens,
            signatures=self._signatures,
            jobs=self._jobs,
            operators=self._operators,
            warnings=self._warnings,
            application=self,
            timing=self._timing,
            tasks=tasks,
            is_serverless=is_serverless,
        )
        parts, refresh = (self._pipeline, self._revocations), self._timing.lazy_refresh
        lazy_start = LazyStart(*parts, context.status, refresh=refresh)
        self._lazy_start = lazy_start if is_serverless else None
        app = self._pusher_app
        self._pusher = PusherRoutes(app, context, self.revoke) if app else None
        self._routes = Routes(context, self._lazy_start, self._pusher)
        return context
