"""Program of a simulation that is present on a channel, and shows the members."""

import asyncio

from realtime_bridge.client.hybrid import HybridClient
from realtime_bridge.client.presence_reader import PresenceReader
from realtime_bridge.client.transport_manager import TransportName
from realtime_bridge.model.channel import presence_channel
from realtime_bridge.testing.simulation.client_network import ClientNetwork
from realtime_bridge.testing.simulation.deployment import URL, Deployment, token_of
from realtime_bridge.testing.simulation.process import Process

CHANNEL = presence_channel("job.0")


class Member:
    """Program of one user with the real reader of a channel's members.

    Args:
        simulation: the deployment.
        number: the number of the program.
        user: the user; another program may have the same.
        network: the way to the servers.
        transport: the transport of the client.

    """

    def __init__(
        self,
        simulation: Deployment,
        number: int,
        user: str,
        network: ClientNetwork,
        transport: TransportName,
    ) -> None:
        self.name: str = f"member {number}"
        self.user: str = user
        self.error: Exception | None = None
        self._simulation = simulation
        self._network = network
        self._transport: TransportName = transport
        self._process: Process | None = None
        self._reader: PresenceReader | None = None

    @property
    def is_running(self) -> bool:
        """True between a start and the next end."""
        return self._process is not None

    @property
    def users(self) -> set[str]:
        """The users that the program shows."""
        return {member.user for member in self._reader.members} if self._reader else set()

    def start(self) -> None:
        """Start the program."""
        self._process = Process(self.name)
        self._simulation.loop.spawn(self._process, self._run())

    def end(self) -> None:
        """End the program, which closes its connection."""
        if self._process:
            self._process.cancel_tasks()
        self._process = self._reader = None

    def kill(self) -> None:
        """End the program; the operating system resets its connections."""
        self.end()
        self.cut()

    def cut(self) -> None:
        """Reset the connections of the program."""
        self._network.reset()

    async def _run(self) -> None:
        client = HybridClient(
            URL,
            [CHANNEL],
            token=self._token,
            transport=self._transport,
            options=self._simulation.options.client,
            network=self._network.parts,
        )
        reader = PresenceReader(client, CHANNEL)
        try:
            async with reader:
                self._reader = reader
                async for change in reader:
                    text = f"sees {change.member.user}: {change.kind}"
                    self._simulation.log_line(self.name, text)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self.error = error

    async def _token(self) -> str:
        return token_of(self._simulation.secret, self.user)
