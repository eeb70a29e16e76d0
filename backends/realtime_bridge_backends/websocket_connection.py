"""Signed connection of a worker to a bridge server, with numbered calls."""

import asyncio
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from realtime_bridge.backend.supervisor import Supervisor


class RPCConnection:
    """Open connection with numbered calls: answers may arrive in any order.

    Args:
        connection: the open WebSocket.
        supervisor: the owner of the task that reads the answers.

    """

    def __init__(self, connection: ClientConnection, supervisor: Supervisor) -> None:
        self._connection = connection
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._last_number = 0
        self._received = 0
        self._is_aborted = False
        self._reader = supervisor.spawn("answers of the server", self._read())

    @property
    def is_lost(self) -> bool:
        """True if another connection is needed."""
        return self._is_aborted or self._reader.done()

    async def call(self, name: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Call the server, and return its answer.

        Raises:
            ConnectionClosed: the connection ended before the call was sent.
            ConnectionResetError: it ended before the answer.

        """
        self._last_number += 1
        number = self._last_number
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        received = self._received
        try:
            text = orjson.dumps({"call": name, "number": number, **fields}).decode()
            await self._connection.send(text)
            return await answer
        except asyncio.CancelledError:
            # No answer to any call since this one began: the connection may be half-open, so the
            # next call must open another. A connection with other answers works, and stays.
            if self._received == received:
                self._is_aborted = True
                self._connection.transport.abort()
            raise
        finally:
            self._answers.pop(number, None)

    async def close(self) -> None:
        """Close the connection, and wait for the end of its reader."""
        await self._connection.close()
        await asyncio.wait([self._reader])

    async def _read(self) -> None:
        try:
            while True:
                answer: dict[str, Any] = orjson.loads(await self._connection.recv())
                self._received += 1
                future = self._answers.get(answer["number"])
                if future and not future.done():
                    future.set_result(answer)
        except ConnectionClosed:
            return  # an ordinary end; the supervisor logs any other
        finally:
            # Whatever ended the reader: the calls must not wait, and the next one connects again.
            self._connection.transport.abort()
            for future in self._answers.values():
                if not future.done():
                    future.set_exception(ConnectionResetError("the connection is lost"))
                    future.exception()  # mark it as retrieved: `send` may have raised already
