"""Signed calls of other processes: publishing over HTTP, and all calls over a WebSocket."""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import orjson

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.backend.log import Result, require_folding
from realtime_bridge.backend.outage_log import OutageLog
from realtime_bridge.errors import (
    InvalidEventError,
    PublishError,
    RealtimeError,
)
from realtime_bridge.model.channel import check_channel
from realtime_bridge.model.event import Event
from realtime_bridge.model.names import is_label
from realtime_bridge.model.receipt import Receipt
from realtime_bridge.protocol.session.session import MAX_REASON
from realtime_bridge.protocol.wire import messages, rpc
from realtime_bridge.protocol.wire.close_codes import CloseCode
from realtime_bridge.protocol.wire.messages import ProtocolError
from realtime_bridge.server.auth.signatures import SignatureError, Signatures
from realtime_bridge.server.endpoints.joined_publish import publish_joined
from realtime_bridge.server.http.request import HTTPError, Receive, Request, Send
from realtime_bridge.server.http.response import Response
from realtime_bridge.server.lifecycle.pipeline import ServerPipeline
from realtime_bridge.server.rejection_log import RejectionLog

LARGE_BODIES = 2
"""Bodies over 256 KiB that are read at once: until its end, a body may be a stranger's."""

_HINT = "let your proxy pass the route publish from your workers alone"

_QUIET_SECONDS = 5.0
"""Seconds without a failed publish after which an outage counts as over."""

_logger = logging.getLogger("realtime_bridge.server")

Fields = Mapping[str, Any]
Call = Callable[[Fields], Awaitable[dict[str, Any]]]


class WorkerCalls:
    """Calls of workers on the log.

    Args:
        signatures: checks that a call has the secret, and arrives once.
        pipeline: the log and the broadcaster.
        proof_seconds: the time for the first frame of a connection.
        rejections: reports calls without a valid signature.

    """

    def __init__(
        self,
        signatures: Signatures,
        pipeline: ServerPipeline,
        rejections: RejectionLog,
        *,
        proof_seconds: float,
    ) -> None:
        self._proof_seconds = proof_seconds
        self._signatures = signatures
        self._pipeline = pipeline
        self._rejections = rejections
        self._large_bodies = asyncio.Semaphore(LARGE_BODIES)
        self._outage = OutageLog(
            _logger,
            "publishes of workers fail",
            "publishes of workers work again",
            quiet=_QUIET_SECONDS,
        )
        self._calls: dict[str, Call] = {
            "append": self._append,
            "read": self._read,
            "latest": self._latest,
            "positions": self._positions,
            "renew": self._renew,
            "rotate_epoch": self._rotate_epoch,
        }

    async def publish(self, request: Request) -> Response:
        """Answer `POST publish`; validate all events before the first is appended.

        Raises:
            HTTPError: 401 or 409, the signature; 400, the events; 408 or 413, the body.
            PublishError: the log or the backend failed.

        """
        # Before the body is read, so that a stranger's takes no memory.
        self._headers(request)
        body = await request.body(rpc.MAX_CALL_BYTES, large=self._large_bodies)
        timestamp, signature = self._check(request, body)
        try:
            self._signatures.once(timestamp, signature, now=time.time())
        except SignatureError as error:
            raise HTTPError(409, error.code, str(error)) from error
        try:
            fields = messages.decode_object(body)
            # Ids from the signature: the same body appended on another server is a duplicate there.
            events = rpc.unpack_events(fields.get("events"), fallback_id=signature[:40])
            receipts = await self._pipeline.broadcaster.publish_many(events)
        except (ProtocolError, InvalidEventError) as error:
            raise HTTPError(400, "invalid_event", str(error)) from error
        except PublishError:
            # The caller retries the same signed body, which must not count as a replay.
            self._signatures.forgive(signature)
            raise
        return Response.json(_receipts_answer(receipts))

    async def serve(self, request: Request, receive: Receive, send: Send) -> None:
        """Accept a worker's signed upgrade, then answer its calls in order.

        A copy of the upgrade opens a connection, here or at another server, and gets no further:
        the first frame has to sign a nonce of this connection.

        Raises:
            HTTPError: 401, the signature is invalid.

        """
        self._check(request, b"")
        await send({"type": "websocket.accept"})
        try:
            await self._require_proof(receive, send)
            while (event := await receive())["type"] == "websocket.receive":
                answer = await self._answer(event.get("text") or event.get("bytes") or b"")
                await send({"type": "websocket.send", "text": answer.decode()})
        except ProtocolError as error:
            await _close(send, CloseCode.PROTOCOL, str(error))
        except SignatureError as error:
            await _close(send, CloseCode.TOKEN, str(error))
        except TimeoutError:
            late = f"no proof of the secret within {self._proof_seconds:g} s"
            await _close(send, CloseCode.NO_CONNECT, late)

    async def _require_proof(self, receive: Receive, send: Send) -> None:
        """Check the first frame.

        Raises:
            SignatureError: it is no proof.
            TimeoutError: there is none in time.

        """
        nonce = secrets.token_urlsafe(24)
        await send({"type": "websocket.send", "text": orjson.dumps({"nonce": nonce}).decode()})
        async with asyncio.timeout(self._proof_seconds):
            event = await receive()
        if event["type"] == "websocket.receive":
            fields = messages.decode_object(event.get("text") or event.get("bytes") or b"")
            self._signatures.check_proof(nonce, fields.get("proof"))

    def _headers(self, request: Request) -> tuple[str, str]:
        """Return the timestamp and the signature of a call, which may be wrong."""
        timestamp = request.headers.get(rpc.TIMESTAMP.lower(), "")
        signature = request.headers.get(rpc.SIGNATURE.lower(), "")
        if not timestamp or not signature:
            names = f"{rpc.TIMESTAMP} and {rpc.SIGNATURE}"
            self._report()
            raise HTTPError(401, "not_signed", f"The call is not signed: send the headers {names}")
        with self._as_http_errors() as now:
            self._signatures.check_form(timestamp, signature, now=now)
        return timestamp, signature

    def _check(self, request: Request, body: bytes) -> tuple[str, str]:
        timestamp, signature = self._headers(request)
        with self._as_http_errors() as now:
            self._signatures.check(timestamp, signature, body, now=now)
        return timestamp, signature

    @contextmanager
    def _as_http_errors(self) -> Generator[float]:
        """Yield the time, and turn the refusal of a signature into a 401."""
        now = time.time()
        try:
            yield now
        except SignatureError as error:
            self._report()
            # With this server's time the caller corrects its clock, and signs again.
            now_ms = round(now * 1_000)
            raise HTTPError(401, error.code, str(error), time=now_ms) from error

    def _report(self) -> None:
        self._rejections.report("call without a valid signature", _HINT)

    async def _answer(self, text: str | bytes) -> bytes:
        fields = messages.decode_object(text)
        name = fields.get("call")
        call = self._calls.get(name) if isinstance(name, str) else None
        if call is None:
            raise ProtocolError(f"unknown call: send one of {', '.join(self._calls)}")
        try:
            answer = await call(fields)
        except RealtimeError as error:
            answer = _error_answer(error)
        return orjson.dumps({"number": fields.get("number"), **answer})

    async def _append(self, fields: Fields) -> dict[str, Any]:
        if "batches" not in fields:
            return _receipts_answer(await self._publish(rpc.unpack_events(fields.get("events"))))
        results = await publish_joined(self._publish, rpc.unpack_batches(fields["batches"]))
        return {"results": list(map(_pack_result, results))}

    async def _publish(self, events: Sequence[Event]) -> list[Receipt]:
        try:
            receipts = await self._pipeline.broadcaster.publish_many(events)
        except PublishError as error:
            self._outage.failed(error)
            raise
        self._outage.works()
        return receipts

    async def _read(self, fields: Fields) -> dict[str, Any]:
        after = messages.decode_position(fields.get("after"))
        limit = _number(fields, "limit", 1)
        log, channel = self._pipeline.log, _channel(fields)
        return rpc.pack_answer(await backend_call(log, log.read, channel, after, limit))

    async def _latest(self, fields: Fields) -> dict[str, Any]:
        after, limit = _number(fields, "after", 0), _number(fields, "limit", 1)
        channel, key = _channel(fields), fields.get("key")
        if key is None:
            log = self._pipeline.log
            page = await backend_call(log, log.latest, channel, after=after, limit=limit)
        else:
            folding = require_folding(self._pipeline.log)
            page = await backend_call(folding, folding.latest, channel, key=_key(key))
        return rpc.pack_answer(page)

    async def _renew(self, fields: Fields) -> dict[str, Any]:
        leases, log = rpc.unpack_leases(fields.get("leases")), require_folding(self._pipeline.log)
        for lease in leases:
            check_channel(lease.channel)
        renewals = await backend_call(log, log.renew, leases)
        return {"renewals": [rpc.pack_renewal(renewal) for renewal in renewals]}

    async def _positions(self, fields: Fields) -> dict[str, Any]:
        channels = list(map(check_channel, rpc.unpack_channels(fields.get("channels"))))
        log = self._pipeline.log
        tops = await backend_call(log, log.positions, channels)
        return {"positions": {channel: top.to_json() for channel, top in tops.items()}}

    async def _rotate_epoch(self, fields: Fields) -> dict[str, Any]:
        expected = str(fields.get("expected_epoch"))
        log, channel = self._pipeline.log, _channel(fields)
        top = await backend_call(log, log.rotate_epoch, channel, expected)
        return {"position": top.to_json()}


async def _close(send: Send, code: CloseCode, reason: str) -> None:
    await send({"type": "websocket.close", "code": code, "reason": reason[:MAX_REASON]})


def _receipts_answer(receipts: Iterable[Receipt]) -> dict[str, Any]:
    return {"receipts": [rpc.pack_receipt(receipt) for receipt in receipts]}


def _pack_result(result: Result) -> Any:
    if isinstance(result, RealtimeError):
        return _error_answer(result)
    return list(map(rpc.pack_receipt, result))


def _error_answer(error: RealtimeError) -> dict[str, Any]:
    invalid = isinstance(error, InvalidEventError)
    retryable = isinstance(error, PublishError) and error.retryable
    return {"error": {"invalid": invalid, "retryable": retryable, "message": str(error)}}


def _channel(fields: Fields) -> str:
    return check_channel(fields.get("channel", ""))


def _key(key: object) -> str:
    if not is_label(key):
        raise ProtocolError("key is not valid: send a text of 1 to 128 printable characters")
    return str(key)


def _number(fields: Fields, name: str, least: int) -> int:
    number = fields.get(name, least)
    # An exact type: bool is an int in Python.
    if type(number) is not int or number < least:
        raise ProtocolError(f"{name} is not valid: send an integer from {least}")
    return number
