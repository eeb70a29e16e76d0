"""Attacks with a copy of a worker's signed upgrade."""

import time

import orjson
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from realtime_bridge.protocol.session.timing import SessionTiming
from realtime_bridge.protocol.wire.rpc import sign, sign_nonce, signed_headers
from realtime_bridge.server.timing import ServerTiming
from tests.server.harness import SECRET, Serve, Site

EVENTS = [{"channel": "job.7", "event": "job.step", "data": "evil"}]
CALL = {"call": "append", "number": 1, "events": EVENTS}


@pytest.fixture
def upgrade() -> dict[str, str]:
    """Return the headers of a worker's upgrade, as a proxy or its log has them."""
    return signed_headers(SECRET, f"{time.time():.6f}", b"")


async def replay(site: Site, upgrade: dict[str, str]) -> tuple[ClientConnection, str]:
    socket = await site.open_route("publish", {"additional_headers": upgrade})
    return socket, orjson.loads(await socket.recv())["nonce"]


async def closed_with(socket: ClientConnection) -> int:
    with pytest.raises(ConnectionClosed) as caught:
        await socket.recv()
    assert caught.value.rcvd
    return caught.value.rcvd.code


async def test_replayed_upgrade_calls_nothing_on_any_node(
    serve: Serve, upgrade: dict[str, str]
) -> None:
    for site in (await serve(), await serve()):
        for first in (CALL, {}, {"proof": None}, {"proof": "0" * 64}):
            socket, _ = await replay(site, upgrade)
            await socket.send(orjson.dumps(first).decode())
            assert await closed_with(socket) == 4401, first
        assert (await site.bridge.position("job.7")).offset == 0


async def test_proof_of_another_connection_is_refused(site: Site, upgrade: dict[str, str]) -> None:
    _, other = await replay(site, upgrade)
    socket, nonce = await replay(site, upgrade)
    assert nonce != other
    await socket.send(orjson.dumps({"proof": sign_nonce(SECRET, other)}).decode())
    assert await closed_with(socket) == 4401


async def test_signatures_of_calls_are_no_proofs(site: Site, upgrade: dict[str, str]) -> None:
    for body in (b"", b"GET publish"):
        socket, nonce = await replay(site, upgrade)
        await socket.send(orjson.dumps({"proof": sign(SECRET, nonce, body)}).decode())
        assert await closed_with(socket) == 4401


async def test_frame_that_is_no_object_is_a_protocol_error(
    site: Site, upgrade: dict[str, str]
) -> None:
    for text in ("nonsense", "[]", "null"):
        socket, _ = await replay(site, upgrade)
        await socket.send(text)
        assert await closed_with(socket) == 4400


async def test_connection_without_a_proof_is_closed(serve: Serve, upgrade: dict[str, str]) -> None:
    site = await serve(timing=ServerTiming(session=SessionTiming(connect=0.05)))
    socket, _ = await replay(site, upgrade)
    assert await closed_with(socket) == 4408


async def test_proof_opens_the_connection(site: Site) -> None:
    worker = await site.worker()
    await worker.send(orjson.dumps(CALL).decode())
    assert orjson.loads(await worker.recv())["receipts"][0]["position"]["offset"] == 1
