"""Signed connection of a worker to a bridge server, with numbered calls."""

import asyncio
from typing import Any

import orjson
from msgspec import Struct
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.protocol import Event, State

from realtime_bridge.backend.supervisor import Supervisor

Answer = dict[str, Any]


class MessageConnection(ClientConnection):
    """WebSocket that gives each whole text to a function, without its queue and its reader's task.

    A fragmented text is still to be received: `recv` returns it.
    """

    receiver: "RPCConnection | None" = None

    def process_event(self, event: Event) -> None:
        """Process a frame, or the answer to the upgrade."""
        receiver = self.receiver
        if receiver and isinstance(event, Frame) and event.fin and event.opcode is Opcode.TEXT:
            receiver.receive(event.data)
        else:
            super().process_event(event)

    def send_text(self, text: bytes) -> None:
        """Send a text without a wait.

        Raises:
            OSError: the connection is closed, or closes.

        """
        if self.protocol.state is not State.OPEN:
            raise ConnectionResetError("the connection is closed")
        self.protocol.send_text(text)
        self.send_data()


class RPCConnection:
    """Open connection with numbered calls: answers may arrive in any order.

    Args:
        connection: the open WebSocket.
        supervisor: the owner of the task that waits for the end.
        call_seconds: time limit of a call.

    """

    def __init__(
        self, connection: MessageConnection, supervisor: Supervisor, call_seconds: float
    ) -> None:
        self._connection = connection
        self._call_seconds = call_seconds
        self._loop = asyncio.get_running_loop()
        self._calls: dict[int, _Call] = {}
        """Calls without an answer, by number; so the first one has the next deadline."""
        self._last_number = 0
        self._received = 0
        self._is_aborted = False
        self._failure: Exception | None = None
        self._timer: asyncio.TimerHandle | None = None
        connection.receiver = self
        self._reader = supervisor.spawn("answers of the server", self._read())

    @property
    def is_lost(self) -> bool:
        """True if another connection is needed."""
        return self._is_aborted or self._reader.done()

    async def call(self, name: str, fields: dict[str, Any]) -> Answer:
        """Call the server, and return its answer.

        Raises:
            OSError: the connection ended before the answer.
            TimeoutError: there is no answer in time.

        """
        self._last_number += 1
        number = self._last_number
        text = orjson.dumps({"call": name, "number": number, **fields})
        call = self._calls[number] = _Call(
            self._loop.create_future(), self._received, self._loop.time() + self._call_seconds
        )
        if self._timer is None:
            self._timer = self._loop.call_at(call.deadline, self._expire)
        try:
            self._connection.send_text(text)
            return await call.answer
        except asyncio.CancelledError:
            self._doubt(call)
            raise
        finally:
            self._calls.pop(number, None)

    def receive(self, text: bytes | bytearray | memoryview) -> None:
        """Give an answer to its call."""
        try:
            answer = orjson.loads(text)
            self._received += 1
            call = self._calls.get(answer["number"])
            if call and not call.answer.done():
                call.answer.set_result(answer)
        except (TypeError, KeyError, ValueError) as error:
            self._failure = error
            self._abort()

    async def close(self) -> None:
        """Close the connection, and wait for its end."""
        await self._connection.close()
        await asyncio.wait([self._reader])

    def _expire(self) -> None:
        """End the calls that have no answer in time; look again at the next deadline."""
        self._timer, now = None, self._loop.time()
        for call in self._calls.values():
            if call.deadline > now:
                self._timer = self._loop.call_at(call.deadline, self._expire)
                break
            call.fail(TimeoutError())
            self._doubt(call)

    def _doubt(self, call: "_Call") -> None:
        """Abort the connection if nothing arrived since a call that is given up was sent.

        It may be half-open, and the next call must open another. A connection with other answers
        works, and stays.
        """
        if call.received == self._received:
            self._abort()

    def _abort(self) -> None:
        self._is_aborted = True
        self._connection.transport.abort()

    async def _read(self) -> None:
        try:
            while True:
                self.receive(await self._connection.recv(decode=False))
        except ConnectionClosed:
            if self._failure:
                raise self._failure from None  # the supervisor logs it
        finally:
            # Whatever ended the reader: the calls must not wait, and the next one connects again.
            self._abort()
            if self._timer:
                self._timer.cancel()
            for call in self._calls.values():
                call.fail(ConnectionResetError("the connection is lost"))


class _Call(Struct, gc=False):
    """Call without an answer: what was received before it, and its deadline."""

    answer: "asyncio.Future[Answer]"
    received: int
    deadline: float

    def fail(self, error: OSError) -> None:
        """End the call with an error, unless it has ended."""
        if not self.answer.done():
            self.answer.set_exception(error)
            self.answer.exception()  # mark it as retrieved: its task may be cancelled meanwhile
