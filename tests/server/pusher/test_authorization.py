"""Signatures for Pusher's clients by the channel rules, and mounting within an application."""

import json
from typing import Any

import pytest
from starlette.applications import Starlette

from realtime_bridge.server import Bridge
from tests.server.harness import Serve, Site, make_bridge
from tests.server.pusher.clients import connect_pusher, sdk_of

FORM = "application/x-www-form-urlencoded"


def bridge_with_rules(**options: Any) -> Bridge:
    bridge = make_bridge(pusher_door=True, authenticate=lambda _: "42", **options)

    @bridge.channel("job.{job}")
    def _(user: str, job: str) -> bool:
        if job == "broken":
            raise RuntimeError("a mistake of the application")
        return (user, job) == ("42", "7")

    return bridge


async def authorize(site: Site, **fields: str) -> tuple[int, Any]:
    """Send the request of pusher-js."""
    async with site.http.post(f"{site.url}/auth/pusher", data=fields) as response:
        return response.status, json.loads(await response.read())


async def test_rule_decides_on_the_signature_of_a_channel(serve: Serve) -> None:
    site = await serve(bridge_with_rules())
    client = await connect_pusher(site)
    for name in ("private-job.7", "private-user-42"):
        status, answer = await authorize(site, socket_id=client.socket_id, channel_name=name)
        assert status == 200
        await client.send("pusher:subscribe", {"channel": name, **answer})
        await client.expect("pusher_internal:subscription_succeeded")
    for name, expected in {
        "private-job.8": 403,
        "private-user-7": 403,
        "private-job.broken": 500,
        "private-@realtime": 400,
        "private-public.news": 400,
        "private-encrypted-chat": 400,
        "presence-room": 403,
        "presence-@realtime": 400,
        "news": 400,
    }.items():
        assert (await authorize(site, socket_id="1.2", channel_name=name))[0] == expected, name


async def test_sign_in_of_pusher_js_is_signed(serve: Serve) -> None:
    site = await serve(bridge_with_rules())
    client = await connect_pusher(site)
    status, answer = await authorize(site, socket_id=client.socket_id)
    assert (status, json.loads(answer["user_data"])) == (200, {"id": "42"})
    await client.send("pusher:signin", answer)
    await client.expect("pusher:signin_success")


@pytest.mark.parametrize("socket_id", ["", "1", "1.2:private-x", "1.2::user::x", "a.b"])
async def test_socket_id_that_would_sign_something_else_is_refused(
    serve: Serve, socket_id: str
) -> None:
    site = await serve(bridge_with_rules())
    answer = await authorize(site, socket_id=socket_id, channel_name="private-job.7")
    assert answer[0] == 400


async def test_request_without_a_session_is_refused(site: Site) -> None:
    answer = await authorize(site, socket_id="1.2", channel_name="private-job.7")
    assert answer[0] == 401


async def test_application_mounts_the_door_beside_its_bridge(serve: Serve) -> None:
    bridge = bridge_with_rules()
    app = Starlette(lifespan=bridge.lifespan)
    app.mount("/realtime", bridge)
    app.mount("/apps", bridge.pusher_door)
    app.mount("/app", bridge.pusher_door)
    site = await serve(bridge, app=app)
    for path in ("/app", "/realtime/app"):
        client = await connect_pusher(site, path)
        await client.subscribe("private-job.7")
        await sdk_of(site.origin).trigger("private-job.7", "e", path)
        await client.expect("e")
