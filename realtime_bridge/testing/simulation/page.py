"""Client process of a simulation: the real Python client, and an application."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from realtime_bridge.client.hybrid import HybridClient
from realtime_bridge.client.subscription_set import ChannelDenied, ChannelReset, DeniedError
from realtime_bridge.client.transport_manager import TransportName
from realtime_bridge.model.event import Event
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.client.status import Status
from realtime_bridge.testing.simulation.client_network import ClientNetwork
from realtime_bridge.testing.simulation.deployment import URL, Deployment, token_of
from realtime_bridge.testing.simulation.faults import Fault
from realtime_bridge.testing.simulation.handlers import Handler
from realtime_bridge.testing.simulation.process import Process
from realtime_bridge.testing.simulation.stream_view import StreamView
from realtime_bridge.testing.simulation.task_checker import TASK_PREFIX
from realtime_bridge.testing.simulation.task_view import TaskView

BUSY_SECONDS = 0.7
RETRY_SECONDS = 1.0


class Page:
    """Program with a client that subscribes to channels; it can start again where it ended.

    Args:
        simulation: the deployment.
        number: the number of the client.
        channels: the channels.
        transport: the transport of the client.

    """

    def __init__(
        self,
        simulation: Deployment,
        number: int,
        channels: tuple[str, ...],
        transport: TransportName,
        network: ClientNetwork,
    ) -> None:
        self.number: int = number
        self.name: str = f"client {number}"
        self.user: str = f"u{number}"
        self.network: ClientNetwork = network
        self.channels: tuple[str, ...] = channels
        self.handler: Handler = simulation.options.handler()
        self.client_ids: list[str] = []
        """Ids of the clients that this program has started, the last one last."""
        self.status: str = "starting"
        self.status_since: float = 0.0
        self.is_started: bool = False
        self.is_asleep: bool = False
        self.is_busy: bool = False
        # Faults overlap: at the end of one, another may keep the user signed out.
        self.signed_out_by: set[Fault] = set()
        self.has_ended: bool = False
        self.process: Process = Process(self.name)
        self._simulation = simulation
        self._clear_views()
        self._transport: TransportName = transport
        self._client: HybridClient | None = None
        self._excuse_ended: float = 0.0
        self._current: Event | ChannelReset | ChannelDenied | None = None
        self._handled: dict[str, Position | None] = {}
        self._snapshots: dict[str, int] = {}

    @property
    def always_polls(self) -> bool:
        """True where the client polls while nothing pushes."""
        return self._transport in ("auto", "poll")

    @property
    def is_signed_in(self) -> bool:
        """True while the application issues tokens to the user."""
        return not self.signed_out_by

    @property
    def positions(self) -> Mapping[str, Position | None]:
        """Positions of the client, by channel."""
        return self._client.positions if self._client else {}

    def start(self, positions: Mapping[str, Position | None] | None = None) -> None:
        """Start the process."""
        self.process = Process(self.name)
        self.is_started = True
        channels = positions or dict.fromkeys(self.channels)
        self._simulation.loop.spawn(self.process, self._run(channels))

    def reload(self) -> None:
        """End the process; a new one resumes from the positions that were handled."""
        positions = dict(self._client.positions) if self._client else None
        if positions and self._current:
            # The client counts an item as handled when it hands the item over.
            positions[self._current.channel] = self._handled.get(self._current.channel)
        self._current = None
        self.stop()
        self._clear_views()
        self.network.reset()
        self._set_status("starting")
        self.start(positions)

    def _clear_views(self) -> None:
        self.streams: StreamView = StreamView(self, self._simulation)
        self.tasks: TaskView = TaskView(self, self._simulation)

    def stop(self) -> None:
        """End the process."""
        self._simulation.loop.thaw(self.process)
        self.process.cancel_tasks()

    def set_asleep(self, *, asleep: bool) -> None:
        """Freeze the process, or continue it."""
        self.is_asleep, self._excuse_ended = asleep, self._simulation.loop.now

    def set_busy(self, *, busy: bool) -> None:
        """Make the application slow, or fast again."""
        self.is_busy, self._excuse_ended = busy, self._simulation.loop.now

    def excused_until(self, now: float) -> float:
        """Return the last moment at which the application itself was to blame for a delay."""
        return now if self.is_asleep or self.is_busy else self._excuse_ended

    async def _run(self, channels: Mapping[str, Position | None]) -> None:
        simulation = self._simulation
        try:
            async with HybridClient(
                URL,
                channels,
                token=self.token,
                transport=self._transport,
                options=simulation.options.client,
                on_status=self._on_status,
                network=self.network.parts,
            ) as client:
                self._client = client
                self.client_ids.append(client.client)
                following = asyncio.create_task(self._follow_starts(client))
                try:
                    async for item in client:
                        await self._handle(item)
                finally:
                    following.cancel()
        except Exception as error:
            self.has_ended = True
            simulation.checker.check_end(self, error)

    async def _follow_starts(self, client: HybridClient) -> None:
        """Record the position at which each channel begins."""
        with suppress(DeniedError):
            for _ in self.channels:
                channel, position = await client.wait_subscribed()
                self._handled.setdefault(channel, position)
                self._simulation.checker.record_start(self, channel, position)
                self._load_snapshot(channel)
                self.streams.load(channel)
                self.tasks.load(channel)

    async def _handle(self, item: Event | ChannelReset | ChannelDenied) -> None:
        self._current = item
        if self.is_busy:
            await asyncio.sleep(BUSY_SECONDS)
        self._handle_now(item)
        self._current = None
        if not isinstance(item, ChannelDenied):
            self._handled[item.channel] = item.position

    def _handle_now(self, item: Event | ChannelReset | ChannelDenied) -> None:
        checker = self._simulation.checker
        if isinstance(item, ChannelDenied):
            self._simulation.log_line(self.name, f"denied {item.channel}: {item.message}")
            return
        if isinstance(item, Event):
            self._simulation.log_line(self.name, f"received {item.id} at {item.position}")
            checker.check_delivery(self, item)
            for view in (self.streams, self.tasks):
                if view.board.contradicts(item):
                    view.load(item.channel)
            if item.key and item.key.startswith(TASK_PREFIX):
                self.tasks.event(item)
            elif item.attempt is None:
                self.handler.event(item)
            else:
                self.streams.event(item)
            return
        self._simulation.log_line(self.name, f"reset of {item.channel}: {item.reason}")
        checker.record_reset(self, item)
        self.handler.reset(item.channel, item.position)
        self._load_snapshot(item.channel)
        self.streams.load(item.channel)
        self.tasks.load(item.channel)

    def _on_status(self, status: Status) -> None:
        reason = f" ({status.reason})" if status.reason else ""
        self._simulation.log_line(self.name, f"shows {status.kind}{reason}")
        self._set_status(status.kind)

    def _set_status(self, kind: str) -> None:
        if kind != self.status:
            self.status, self.status_since = kind, self._simulation.loop.now

    async def token(self) -> str:
        """Return a token of the user; the application refuses one that is not signed in."""
        secret = self._simulation.secret
        return token_of(secret, self.user) if self.is_signed_in else "not signed in"

    def _load_snapshot(self, channel: str) -> None:
        # A later load makes this one obsolete: its answer could replace newer steps.
        number = self._snapshots[channel] = self._snapshots.get(channel, 0) + 1
        self._simulation.loop.spawn(self.process, self._try_to_load(channel, number))

    async def _try_to_load(self, channel: str, number: int) -> None:
        network = self.network
        while self._snapshots[channel] == number:
            await network.link.up.traverse()
            jobs: dict[str, Any] = dict(self._simulation.application.get(channel, {}))
            await network.link.down.traverse()
            if not network.is_refused and network.proxy_status is None:
                if self._snapshots[channel] == number:
                    self.handler.snapshot(channel, jobs)
                return
            await asyncio.sleep(RETRY_SECONDS)
