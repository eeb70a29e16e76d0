"""The operations on the log of a channel, as one script that Redis runs atomically."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

from redis.asyncio import RedisCluster
from redis.exceptions import NoScriptError, ResponseError

from realtime_bridge_backends.redis.client_factory import Client

_TEXT = files(__package__).joinpath("log.lua").read_text()
_NAME = f"realtime_{hashlib.sha256(_TEXT.encode()).hexdigest()[:12]}"
"""Named by its text, so that two versions of us can work with one Redis."""

LIBRARY = f"#!lua name={_NAME}\n{_TEXT}\nredis.register_function('{_NAME}', operate)\n"
SCRIPT = f"{_TEXT}\nreturn operate(KEYS, ARGV)\n"

Argument = str | bytes | int
Way = Literal["function", "script"]


@dataclass(frozen=True, slots=True)
class Call:
    """One operation on the keys of one channel."""

    name: str
    keys: Sequence[str]
    arguments: Sequence[Argument]


class Operations:
    """Runs calls on a client, by the function library where the server has that (Redis 7).

    On a Cluster they are a script: redis-py would ask a node for the keys of each FCALL first.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._loading = asyncio.Lock()
        self._loaded = 0
        self.way: Way = "script" if isinstance(client, RedisCluster) else "function"

    async def run(self, calls: Sequence[Call]) -> list[Any]:
        """Run the calls in one round trip, and return their answers; a failed one's is its error.

        Raises:
            RedisError: they could not be run.

        """
        loaded = self._loaded
        if not loaded and isinstance(self._client, RedisCluster):
            # Many first calls at once would close each other's connections in redis-py.
            await self._load(None, loaded)
            loaded = self._loaded
        answers = await self._send(calls)
        again = [number for number, answer in enumerate(answers) if _is_missing(answer)]
        if again:
            await self._load(answers[again[0]], loaded)
            repeated = await self._send([calls[number] for number in again])
            for number, answer in zip(again, repeated, strict=True):
                answers[number] = answer
        return answers

    async def _send(self, calls: Sequence[Call]) -> list[Any]:
        if len(calls) == 1:
            try:
                return [await self._client.execute_command(*self._command(calls[0]))]
            except ResponseError as error:
                return [error]
        pipeline = self._client.pipeline(transaction=False)
        for call in calls:
            pipeline.execute_command(*self._command(call))
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers

    def _command(self, call: Call) -> tuple[Argument, ...]:
        command, name = ("FCALL", _NAME) if self.way == "function" else ("EVALSHA", _SHA)
        return (command, name, len(call.keys), *call.keys, call.name, *call.arguments)

    async def _load(self, error: ResponseError | None, loaded: int) -> None:
        """Load the script, unless somebody else did while we were told that it is missing."""
        async with self._loading:
            if self._loaded > loaded:
                return
            if "unknown command" in str(error).lower():
                self.way = "script"
            if self.way == "function":
                await self._client.function_load(LIBRARY, replace=True)
            else:
                await self._client.script_load(SCRIPT)
            self._loaded += 1


_SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


def _is_missing(answer: object) -> bool:
    """Tell whether the server does not have the library, the script, or any library at all."""
    if isinstance(answer, NoScriptError):
        return True
    if not isinstance(answer, ResponseError):
        return False
    said = str(answer).lower()
    return "function not found" in said or ("unknown command" in said and "fcall" in said)
