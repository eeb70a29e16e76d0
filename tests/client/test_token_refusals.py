"""Server with another secret or a wrong clock: clients are current again soon after its end."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from realtime_bridge.client import HybridClient
from realtime_bridge.protocol.client.status import Status
from realtime_bridge.server.auth.tokens import Tokens
from tests.cli.processes import ServeProcess, run
from tests.services.programs import free_port

CHANNEL = "user-ada"
OLD = "the old secret for tests of more than 32 bytes"
NEW = "the new secret for tests of more than 32 bytes"
CLOCK = Path(__file__).parents[1] / "services" / "clock"
SLOW_CLOCK = {"PYTHONPATH": str(CLOCK), "CLOCK_OFFSET": "-40"}
CURRENT_SECONDS = 30.0
REFUSED = "the server refuses the token: "


class TokenClient:
    """Client with the usual durations, whose application signs with its own secret."""

    secret = OLD

    def __init__(self, port: int, transport: str) -> None:
        self._refused = asyncio.Event()
        self._updated = asyncio.Event()
        """Set while the client receives pushes or polls."""
        self.causes: set[str] = set()
        self.client = HybridClient(
            f"http://127.0.0.1:{port}/realtime",
            [CHANNEL],
            token=self._token,
            transport=transport,  # type: ignore[arg-type] # a parameter of the test
            on_status=self._note,
        )

    async def _token(self) -> str:
        return Tokens(self.secret, issuer="realtime").issue("ada")

    def _note(self, status: Status) -> None:
        assert status.kind != "error"
        is_updated = status.kind in ("realtime", "polling")
        (self._updated.set if is_updated else self._updated.clear)()
        if status.reason and status.reason.startswith(REFUSED):
            self.causes.add(status.reason.removeprefix(REFUSED))
            self._refused.set()

    async def refused(self) -> None:
        """Wait until the status has the cause of a refusal."""
        async with asyncio.timeout(CURRENT_SECONDS):
            await self._refused.wait()

    async def current(self) -> None:
        """Wait until the client has the first event, or knows its position."""
        async for item in self.client:
            if item.position and item.position.offset == 1:
                break
        await self._updated.wait()


@pytest.mark.parametrize("transport", ["auto", "sse", "poll"])
@pytest.mark.parametrize(
    ("fault", "secret", "cause"),
    [
        ({"REALTIME_SECRET": NEW}, NEW, "it is signed with another secret"),
        (SLOW_CLOCK, OLD, "it is not valid yet, because two clocks differ"),
    ],
    ids=["rotated secret", "slow clock"],
)
async def test_refused_token_ends_with_its_cause(
    tmp_path: Path, transport: str, fault: Mapping[str, str], secret: str, cause: str
) -> None:
    port = free_port()

    async def serve(variables: Mapping[str, str]) -> ServeProcess:
        variables = {"REALTIME_SECRET": OLD, **variables}
        return await asyncio.to_thread(
            ServeProcess, folder=tmp_path, variables=variables, port=port
        )

    with await serve({}) as first:
        tested = TokenClient(port, transport)
        async with tested.client as client:
            await client.wait_subscribed()
            first.kill()
            with await serve(fault) as faulty:
                await tested.refused()
                faulty.kill()
            variables = {"REALTIME_SECRET": secret, "REALTIME_WEBSOCKET_URL": first.url}
            with await serve(variables):
                tested.secret, end = secret, time.monotonic()
                published = await asyncio.to_thread(
                    run, "publish", CHANNEL, "x", folder=tmp_path, variables=variables
                )
                assert published.returncode == 0, published.stderr
                async with asyncio.timeout(end + CURRENT_SECONDS - time.monotonic()):
                    await tested.current()
    assert tested.causes == {cause}
