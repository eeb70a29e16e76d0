"""Process with Python clients that write down their events, resets and statuses."""

import asyncio
import random
import sys
from collections.abc import Sequence

import orjson
from msgspec import Struct

from realtime_bridge.client import ChannelDenied, ChannelReset, HybridClient
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.client.status import Status
from realtime_bridge.server.auth.tokens import Tokens
from tests.cli.processes import SECRET
from tests.lab.lines import standard_input, write


class ClientTask(Struct, frozen=True):
    """Clients of one process.

    Args:
        url: address of the bridge.
        names: name of each client; the part after the first `-` is its transport.
        channels: channels of the process.
        each: number of channels of each client; 0 for all.
        lifetime: mean seconds after which a client is replaced; 0 for never.

    """

    url: str
    names: Sequence[str]
    channels: Sequence[str]
    each: int = 0
    lifetime: float = 0.0


async def record(task: ClientTask, name: str, channels: Sequence[str]) -> None:
    """Run one client, and write what it receives."""

    def on_status(status: Status) -> None:
        write(source=name, kind="status", text=status.kind)

    transport = name.split("-")[1]
    client = HybridClient(
        task.url,
        channels,
        token=Tokens(SECRET, issuer="realtime").issue(name, channels=channels, seconds=3_600),
        transport=transport,  # type: ignore[arg-type] # the lab's names have a transport
        on_status=on_status,
    )
    async with client:
        for _ in channels:
            channel, position = await client.wait_subscribed()
            write(source=name, kind="start", channel=channel, **_place(position))
        write(source=name, kind="ready")
        async for item in client:
            assert not isinstance(item, ChannelDenied), item
            if isinstance(item, ChannelReset):
                fields = {"kind": "reset", "text": item.reason}
            else:
                fields = {"kind": "event", "id": item.id}
            write(source=name, channel=item.channel, **_place(item.position), **fields)


async def run(task: ClientTask, number: int) -> None:
    """Run one client, and its successors."""
    channels = [
        task.channels[(number + n * 7) % len(task.channels)]
        for n in range(task.each or len(task.channels))
    ]
    generation = 0
    while True:
        name = f"{task.names[number]}{f'.{generation}' if generation else ''}"
        lifetime = random.uniform(0.2, 1.8) * task.lifetime if task.lifetime else None
        try:
            async with asyncio.timeout(lifetime):
                await record(task, name, channels)
        except TimeoutError:
            write(source=name, kind="end")
        except Exception as error:
            write(source=name, kind="error", text=f"{type(error).__name__}: {error}")
            return
        generation += 1


def _place(position: Position | None) -> dict[str, object]:
    return {"epoch": position.epoch, "offset": position.offset} if position else {}


async def main(task: ClientTask) -> None:
    """Run the clients until the end of standard input."""
    reader = await standard_input()
    running = [asyncio.create_task(run(task, number)) for number in range(len(task.names))]
    await reader.read()
    for client in running:
        client.cancel()
    await asyncio.wait(running)


if __name__ == "__main__":
    asyncio.run(main(ClientTask(**orjson.loads(sys.argv[1]))))
