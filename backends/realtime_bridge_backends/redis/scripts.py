"""Operations of the log in Redis: one Lua script, which Redis runs atomically."""

import asyncio
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Literal

from msgspec import Struct
from redis.asyncio import RedisCluster
from redis.exceptions import NoScriptError, ResponseError

from realtime_bridge_backends.redis.client_factory import Client
from realtime_bridge_backends.redis.cluster_commands import ClusterCommands
from realtime_bridge_backends.redis.command_connection import Argument, Command, CommandConnection

_SOURCE = files(__package__).joinpath("log.lua").read_text()
_LIBRARY_NAME = f"realtime_{hashlib.sha256(_SOURCE.encode()).hexdigest()[:12]}"
"""Named after its source, so that two versions of this package can share one Redis."""

_READER_NAME = f"{_LIBRARY_NAME}_read"
_LIBRARY = (
    f"#!lua name={_LIBRARY_NAME}\n{_SOURCE}\n"
    f"redis.register_function('{_LIBRARY_NAME}', run_operation)\n"
    f"redis.register_function{{function_name='{_READER_NAME}', callback=run_operation, "
    "flags={'no-writes'}}\n"
)
READING: frozenset[str] = frozenset({"position", "read", "latest", "known_generation"})
"""Operations without writes. A full Redis calls only functions that are flagged so; of a script it
refuses the first write."""

_SCRIPT = f"{_SOURCE}\nreturn run_operation(KEYS, ARGV)\n"
_SCRIPT_SHA = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()

ScriptMode = Literal["function", "script"]


class ScriptCall(Struct, frozen=True):
    """Operation of the script on the keys of one channel."""

    operation: str
    keys: Sequence[str]
    arguments: Sequence[Argument]


class ScriptRunner:
    """Runs calls on a client: as a function library on Redis 7 and later, else as a script.

    On a Cluster always as a script: redis-py asks a node for the keys of each FCALL.

    Args:
        client: client of the Redis.
        call_seconds: time limit of a call, which the caller keeps.

    """

    def __init__(self, client: Client, *, call_seconds: float) -> None:
        self._commands: CommandConnection | ClusterCommands
        if isinstance(client, RedisCluster):
            self._commands = ClusterCommands(client)
        else:
            create = client.connection_pool.make_connection
            self._commands = CommandConnection(create, silence=call_seconds / 2)
        self._lock = asyncio.Lock()
        self._loads = 0
        self.mode: ScriptMode = "script" if isinstance(client, RedisCluster) else "function"

    async def close(self) -> None:
        """Close the connection for the calls."""
        if isinstance(self._commands, CommandConnection):
            await self._commands.close()

    async def run(self, calls: Sequence[ScriptCall]) -> list[Any]:
        """Run the calls in one round trip; the answer to a failed call is its exception.

        Raises:
            RedisError: the calls could not be sent.

        """
        loads = self._loads
        if not loads and isinstance(self._commands, ClusterCommands):
            # Load first: parallel first calls would close each other's connections in redis-py.
            await self._load(None, loads)
            loads = self._loads
        answers = await self._commands.run([self._command(call) for call in calls])
        missing = [number for number, answer in enumerate(answers) if _is_not_loaded(answer)]
        if missing:
            await self._load(answers[missing[0]], loads)
            commands = [self._command(calls[number]) for number in missing]
            repeated = await self._commands.run(commands)
            for number, answer in zip(missing, repeated, strict=True):
                answers[number] = answer
        return answers

    async def send(self, *command: Argument) -> None:
        """Send one command that is no script, in the order of the calls.

        Raises:
            RedisError: the command failed, or could not be sent.

        """
        (answer,) = await self._commands.run([command])
        if isinstance(answer, Exception):
            raise answer

    def _command(self, call: ScriptCall) -> Command:
        command, name = "EVALSHA", _SCRIPT_SHA
        if self.mode == "function":
            command = "FCALL"
            name = _READER_NAME if call.operation in READING else _LIBRARY_NAME
        return (command, name, len(call.keys), *call.keys, call.operation, *call.arguments)

    async def _load(self, error: ResponseError | None, loads: int) -> None:
        """Load the script, unless another call loaded it since the count was `loads`."""
        async with self._lock:
            if self._loads > loads:
                return
            if "unknown command" in str(error).lower():  # Redis before 7 has no FCALL
                self.mode = "script"
            if self.mode == "function" and not await self._load_functions():
                self.mode = "script"
            if self.mode == "script":
                await self._load_script()
            self._loads += 1

    async def _load_functions(self) -> bool:
        """Load the library; return whether the server has a command for it."""
        (answer,) = await self._commands.run([("FUNCTION", "LOAD", "REPLACE", _LIBRARY)])
        if not isinstance(answer, Exception):
            return True
        if "unknown command" in str(answer).lower():  # renamed away by the server's operator
            return False
        raise answer

    async def _load_script(self) -> None:
        if isinstance(self._commands, ClusterCommands):
            await self._commands.load(_SCRIPT)
            return
        (answer,) = await self._commands.run([("SCRIPT", "LOAD", _SCRIPT)])
        if isinstance(answer, Exception):
            raise answer


def _is_not_loaded(answer: object) -> bool:
    """Return whether the server lacks the library, the script, or function libraries at all."""
    if isinstance(answer, NoScriptError):
        return True
    if not isinstance(answer, ResponseError):
        return False
    message = str(answer).lower()
    return "function not found" in message or ("unknown command" in message and "fcall" in message)
