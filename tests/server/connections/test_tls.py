"""Tests of the fast connection over TLS, where it cannot write to the socket directly."""

import ssl
from pathlib import Path

import pytest
import trustme
from websockets.asyncio.client import connect

from realtime_bridge.server.auth.tokens import Tokens
from tests.server.harness import FAST, SECRET, Client, make_bridge, running

EVENTS = 300


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def certificate(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(path)
    return path


async def test_queued_events_arrive_in_order_over_tls(
    authority: trustme.CA, certificate: Path
) -> None:
    bridge, context = make_bridge(), ssl.create_default_context()
    authority.configure_trust(context)
    token = Tokens(SECRET, issuer="realtime").issue("42", channels=["*"])
    async with running(bridge, shell=FAST, certificate=certificate) as origin:
        url = origin.replace("http", "ws", 1) + "/realtime/ws"
        async with connect(url, ssl=context, compression=None, max_queue=1, proxy=None) as socket:
            client = Client(socket)
            await client.introduce(token)
            await client.subscribe("job.7")
            for number in range(EVENTS):
                await bridge.publish("job.7", "job.step", "x" * 2_000 + str(number))
            events = await client.events(EVENTS)
            assert [event["offset"] for event in events] == list(range(1, EVENTS + 1))
            await client.ping()
