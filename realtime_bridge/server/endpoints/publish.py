"""Signed calls of other processes: publishing over HTTP, and all calls over a WebSocket."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from realtime_bridge.errors import InvalidEventError, PublishError, RealtimeError
from realtime_bridge.model.channel import check_channel
from realtime_bridge.protocol.session.session import PROTOCOL
from realtime_bridge.protocol.wire import messages, rpc
from realtime_bridge.protocol.wire.messages import ProtocolError
from realtime_bridge.server.auth.signatures import SignatureError
from realtime_bridge.server.context import ServerContext
from realtime_bridge.server.http.request import HTTPError, Receive, Request, Scope
from realtime_bridge.server.http.request import Send as ASGISend
from realtime_bridge.server.http.response import Response

Call = Callable[[ServerContext, Mapping[str, Any]], Awaitable[dict[str, Any]]]


async def publish(engine: ServerContext, request: Request) -> Response:
    """Answer `POST publish`; validate all events before the first is appended.

    Raises:
        HTTPError: 401 or 409, the signature; 400, the events.
        PublishError: the log or the backend failed.

    """
    body = await request.body(rpc.MAX_CALL_BYTES)
    timestamp, signature = _check(engine, request, body)
    try:
        engine.signatures.once(timestamp, signature, now=time.time())
    except SignatureError as error:
        raise HTTPError(409, error.code, str(error)) from error
    try:
        fields = messages.decode_object(body)
        # Ids from the signature: the same body appended on another server is a duplicate there.
        events = rpc.unpack_events(fields.get("events"), fallback_id=signature[:40])
        receipts = await engine.broadcaster.publish_many(events)
    except (ProtocolError, InvalidEventError) as error:
        raise HTTPError(400, "invalid_event", str(error)) from error
    except PublishError:
        # The caller retries the same signed body, which must not count as a replay.
        engine.signatures.forgive(signature)
        raise
    return Response.json({"receipts": [rpc.pack_receipt(receipt) for receipt in receipts]})


async def serve(
    engine: ServerContext, request: Request, _scope: Scope, receive: Receive, send: ASGISend
) -> None:
    """Accept a worker's signed upgrade, then answer its calls in order.

    Raises:
        HTTPError: 401, the signature is invalid.

    """
    # No replay check: the upgrade carries no events, and its signature expires in 300 s.
    _check(engine, request, b"")
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        try:
            answer = await _answer(engine, message.get("text") or message.get("bytes") or b"")
        except ProtocolError as error:
            await send({"type": "websocket.close", "code": PROTOCOL, "reason": str(error)[:120]})
            return
        await send({"type": "websocket.send", "text": answer.decode()})


def _check(engine: ServerContext, request: Request, body: bytes) -> tuple[str, str]:
    timestamp = request.headers.get(rpc.TIMESTAMP.lower(), "")
    signature = request.headers.get(rpc.SIGNATURE.lower(), "")
    if not timestamp or not signature:
        raise HTTPError(
            401,
            "not_signed",
            f"The call is not signed: send the headers {rpc.TIMESTAMP} and {rpc.SIGNATURE}",
        )
    try:
        engine.signatures.check(timestamp, signature, body, now=time.time())
    except SignatureError as error:
        raise HTTPError(401, error.code, str(error)) from error
    return timestamp, signature


async def _answer(engine: ServerContext, text: str | bytes) -> bytes:
    fields = messages.decode_object(text)
    name = fields.get("call")
    call = _CALLS.get(name) if isinstance(name, str) else None
    if call is None:
        raise ProtocolError(f"unknown call: send one of {', '.join(_CALLS)}")
    try:
        answer = await call(engine, fields)
    except RealtimeError as error:
        answer = {"error": _error(error)}
    return orjson.dumps({"number": fields.get("number"), **answer})


def _error(error: RealtimeError) -> dict[str, Any]:
    invalid = isinstance(error, InvalidEventError)
    retryable = isinstance(error, PublishError) and error.retryable
    return {"invalid": invalid, "retryable": retryable, "message": str(error)}


async def _append(engine: ServerContext, fields: Mapping[str, Any]) -> dict[str, Any]:
    events = rpc.unpack_events(fields.get("events"))
    receipts = await engine.broadcaster.publish_many(events)
    return {"receipts": [rpc.pack_receipt(receipt) for receipt in receipts]}


async def _read(engine: ServerContext, fields: Mapping[str, Any]) -> dict[str, Any]:
    after = messages.decode_position(fields.get("after"))
    return rpc.pack_answer(
        await engine.log.read(_channel(fields), after, _number(fields, "limit", 1))
    )


async def _latest(engine: ServerContext, fields: Mapping[str, Any]) -> dict[str, Any]:
    after, limit = _number(fields, "after", 0), _number(fields, "limit", 1)
    return rpc.pack_answer(await engine.log.latest(_channel(fields), after=after, limit=limit))


async def _positions(engine: ServerContext, fields: Mapping[str, Any]) -> dict[str, Any]:
    channels = rpc.unpack_channels(fields.get("channels"))
    tops = await engine.log.positions(map(check_channel, channels))
    return {"positions": {channel: top.to_json() for channel, top in tops.items()}}


async def _rotate(engine: ServerContext, fields: Mapping[str, Any]) -> dict[str, Any]:
    top = await engine.log.rotate_epoch(_channel(fields), str(fields.get("expected_epoch")))
    return {"position": top.to_json()}


def _channel(fields: Mapping[str, Any]) -> str:
    return check_channel(fields.get("channel", ""))


def _number(fields: Mapping[str, Any], name: str, least: int) -> int:
    number = fields.get(name, least)
    # An exact type: bool is an int in Python.
    if type(number) is not int or number < least:
        raise ProtocolError(f"{name} is not valid: send an integer from {least}")
    return number


_CALLS: dict[str, Call] = {
    "append": _append,
    "read": _read,
    "latest": _latest,
    "positions": _positions,
    "rotate_epoch": _rotate,
}
