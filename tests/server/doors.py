"""Every way in which a client asks the server for a channel, with one form of answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from io import BytesIO
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from a2wsgi import ASGIMiddleware
from websockets.exceptions import ConnectionClosed

from tests.server.harness import TIMEOUT, Client, Frame, Site

FORM = {"content-type": "application/x-www-form-urlencoded"}
ALLOWED = 200

Answer = int | str
"""Code of the answer for a channel, or the word of a refused token."""

Door = Callable[[Site, str, str], Awaitable[Answer]]
Many = Callable[[Site, str, list[str]], Awaitable[Mapping[str, Answer]]]


async def websocket(site: Site, token: str, channel: str) -> Answer:
    client = await site.open()
    await client.send("connect", token=token, nonce="n", version=1)
    welcome = await client.receive()
    if welcome["type"] == "error":
        return str(welcome["reason"])
    await client.send("subscribe", channel=channel)
    return _code(await client.receive())


async def event_source(site: Site, token: str, channel: str) -> Answer:
    url = f"{site.url}/sse?channel={quote(channel)}"
    async with site.http.get(url, headers=_bearer(token)) as response:
        # A held response has no end.
        return (
            ALLOWED
            if response.status == ALLOWED
            else _error(response.status, await response.json())
        )


async def stream(site: Site, token: str, channel: str) -> Answer:
    return await _first(streams, site, token, channel)


async def poll(site: Site, token: str, channel: str) -> Answer:
    return await _first(polls, site, token, channel)


async def long_poll(site: Site, token: str, channel: str) -> Answer:
    return await _first(long_polls, site, token, channel)


async def wsgi_poll(site: Site, token: str, channel: str) -> Answer:
    return await _first(wsgi_polls, site, token, channel)


async def latest(site: Site, token: str, channel: str) -> Answer:
    url = f"{site.url}/latest?channel={quote(channel)}"
    async with site.http.get(url, headers=_bearer(token)) as response:
        return _error(response.status, await response.json())


async def wsgi_latest(site: Site, token: str, channel: str) -> Answer:
    status, fields = await call_wsgi(
        site, "GET", "latest", query=f"channel={quote(channel)}", headers=_bearer(token)
    )
    return _error(status, fields)


async def event_stream(site: Site, token: str, channel: str) -> Answer:
    return await _stream_status(site, token, f"channel={quote(channel)}&id=m1")


async def stream_state(site: Site, token: str, channel: str) -> Answer:
    return await _stream_status(site, token, f"channel={quote(channel)}&id=m1&format=json")


async def wsgi_stream_state(site: Site, token: str, channel: str) -> Answer:
    query = f"channel={quote(channel)}&id=m1&format=json"
    return _known(*await call_wsgi(site, "GET", "stream", query=query, headers=_bearer(token)))


async def stop_stream(site: Site, token: str, channel: str) -> Answer:
    body = {"channel": channel, "stream": "m1"}
    return _known(*await site.post("stream/stop", body, **_bearer(token)))


async def wsgi_stop_stream(site: Site, token: str, channel: str) -> Answer:
    body = orjson.dumps({"channel": channel, "stream": "m1"})
    headers = _bearer(token) | {"content-type": "application/json"}
    return _known(*await call_wsgi(site, "POST", "stream/stop", body, headers=headers))


async def cancel_job(site: Site, token: str, channel: str) -> Answer:
    body = {"channel": channel, "job": "a1"}
    return _known(*await site.post("job/cancel", body, **_bearer(token)))


async def answer_job(site: Site, token: str, channel: str) -> Answer:
    body = {"channel": channel, "job": "a1", "question": "q", "value": 1}
    return _known(*await site.post("job/answer", body, **_bearer(token)))


async def pusher(site: Site, token: str, channel: str) -> Answer:
    return _error(*await site.post("auth/pusher", _pusher(channel), **_bearer(token), **FORM))


async def wsgi_pusher(site: Site, token: str, channel: str) -> Answer:
    headers = _bearer(token) | FORM
    return _error(*await call_wsgi(site, "POST", "auth/pusher", _pusher(channel), headers=headers))


async def ably(site: Site, token: str, channel: str) -> Answer:
    return _error(*await site.post("auth/ably", _ably([channel]), **_bearer(token), **FORM))


async def wsgi_ably(site: Site, token: str, channel: str) -> Answer:
    headers = _bearer(token) | FORM
    return _error(*await call_wsgi(site, "POST", "auth/ably", _ably([channel]), headers=headers))


OWN: Mapping[str, Door] = {
    "websocket": websocket,
    "sse": stream,
    "event source": event_source,
    "poll": poll,
    "long poll": long_poll,
    "latest": latest,
    "poll by WSGI": wsgi_poll,
    "latest by WSGI": wsgi_latest,
    "stream of a key": event_stream,
    "state of a stream": stream_state,
    "state of a stream by WSGI": wsgi_stream_state,
}
CONTROLS: Mapping[str, Door] = {
    "stop of a stream": stop_stream,
    "stop of a stream by WSGI": wsgi_stop_stream,
    "cancel of a job": cancel_job,
    "answer to a job": answer_job,
}
"""Requests that the control rules decide about."""

PROVIDERS: Mapping[str, Door] = {
    "pusher": pusher,
    "ably": ably,
    "pusher by WSGI": wsgi_pusher,
    "ably by WSGI": wsgi_ably,
}


async def websockets(site: Site, token: str, channels: list[str]) -> Mapping[str, Answer]:
    client = await site.open()
    await client.introduce(token)
    for channel in channels:
        await client.send("subscribe", channel=channel)
    answers: dict[str, Answer] = {}
    while len(answers) < len(channels):
        frame = await client.receive()
        answers[frame["channel"]] = _code(frame)
    return answers


async def streams(site: Site, token: str, channels: list[str]) -> Mapping[str, Answer]:
    body = {"positions": dict.fromkeys(channels)}
    async with site.http.post(f"{site.url}/sse", json=body, headers=_bearer(token)) as response:
        if response.status != ALLOWED:
            return dict.fromkeys(channels, _error(response.status, await response.json()))
        return await _read_stream(response, len(channels))


async def polls(site: Site, token: str, channels: list[str], **more: Any) -> Mapping[str, Answer]:
    body = {"positions": dict.fromkeys(channels), **more}
    return _each(channels, *await site.post("poll", body, **_bearer(token)))


async def long_polls(site: Site, token: str, channels: list[str]) -> Mapping[str, Answer]:
    """Poll with a wait that the test's own limit of time forbids, unless all is well."""
    start = await polls(site, token, channels)
    if set(start.values()) == {ALLOWED}:
        return start
    async with asyncio.timeout(TIMEOUT):
        return await polls(site, token, channels, wait=20)


async def wsgi_polls(site: Site, token: str, channels: list[str]) -> Mapping[str, Answer]:
    body = orjson.dumps({"positions": dict.fromkeys(channels)})
    headers = _bearer(token) | {"content-type": "application/json"}
    return _each(channels, *await call_wsgi(site, "POST", "poll", body, headers=headers))


MANY: Mapping[str, Many] = {
    "websocket": websockets,
    "sse": streams,
    "poll": polls,
    "long poll": long_polls,
    "poll by WSGI": wsgi_polls,
}


async def closed_with(client: Client) -> int:
    try:
        while True:
            await client.receive()
    except ConnectionClosed as error:
        return error.rcvd.code if error.rcvd else 1006


async def _first(many: Many, site: Site, token: str, channel: str) -> Answer:
    return (await many(site, token, [channel]))[channel]


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def _pusher(channel: str) -> bytes:
    fields = {"socket_id": "1.1", "channel_name": f"private-realtime.{channel}"}
    return urlencode(fields).encode()


def _ably(channels: list[str]) -> bytes:
    return urlencode({"channels": " ".join(f"realtime:{name}" for name in channels)}).encode()


def _code(frame: Frame) -> Answer:
    return ALLOWED if frame["type"] == "subscribed" else int(frame["code"])


def _error(status: int, fields: Frame) -> Answer:
    return str(fields["error"]["code"]) if status == 401 else status


def _known(status: int, fields: Frame) -> Answer:
    """Return the answer to a request about a stream or a job that no channel of the tests has."""
    is_unknown = status == 404 and fields["error"]["code"] in ("unknown_stream", "unknown_job")
    return ALLOWED if is_unknown else _error(status, fields)


async def _stream_status(site: Site, token: str, query: str) -> Answer:
    async with site.http.get(f"{site.url}/stream?{query}", headers=_bearer(token)) as response:
        # A held response has no end.
        return (
            ALLOWED
            if response.status == ALLOWED
            else _known(response.status, await response.json())
        )


def _each(channels: list[str], status: int, fields: Frame) -> Mapping[str, Answer]:
    if status != ALLOWED:
        return dict.fromkeys(channels, _error(status, fields))
    parts = fields["channels"]
    assert parts.keys() == set(channels)
    return {
        name: part["error"]["code"] if "error" in part else ALLOWED for name, part in parts.items()
    }


async def _read_stream(response: Any, count: int) -> dict[str, Answer]:
    answers: dict[str, Answer] = {}
    async with asyncio.timeout(TIMEOUT):
        while len(answers) < count:
            name, _, value = (await response.content.readline()).decode().partition(": ")
            frame = orjson.loads(value) if name == "data" else {"type": "none"}
            if frame["type"] in ("subscribed", "refused"):
                answers[frame["channel"]] = _code(frame)
    return answers


async def call_wsgi(
    site: Site,
    method: str,
    route: str,
    body: bytes = b"",
    *,
    query: str = "",
    headers: Mapping[str, str],
) -> tuple[int, Frame]:
    """Call the bridge as a WSGI server does."""
    application: Any = ASGIMiddleware(site.bridge, loop=asyncio.get_running_loop())  # type: ignore[arg-type]
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": f"{site.path}/{route}",
        "SCRIPT_NAME": "",
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "127.0.0.1",
        "HTTP_AUTHORIZATION": headers["authorization"],
        "CONTENT_TYPE": headers.get("content-type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(body),
    }
    statuses: list[str] = []

    def start(status: str, headers: Any, problem: Any = None) -> None:
        statuses.append(status)

    chunks = await asyncio.to_thread(lambda: b"".join(application(environ, start)))
    return int(statuses[0].split()[0]), orjson.loads(chunks)
