"""Processes of clients and publishers, whose records the lab collects."""

import asyncio
import os
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL
from types import TracebackType
from typing import Self

import orjson

from tests.cli.processes import environment

ROOT = Path(__file__).parents[2]
CLIENT_JS = ROOT / "clients" / "js"
NODE = str(Path(sys.executable).with_name("node"))
LINE_BYTES = 2**20
END_SECONDS = 15.0


class Recorder:
    """Running process; each line of its standard output is a record.

    Args:
        command: the command.
        add: receives each line.
        errors: file of standard error.
        variables: the environment variables of the library.

    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        add: Callable[[bytes], None],
        errors: Path,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._command = command
        self._add = add
        self._errors = errors
        self._variables = variables or {}

    async def __aenter__(self) -> Self:
        with self._errors.open("ab") as errors:
            self._process: Process = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=ROOT,
                env=environment(self._variables),
                stdin=PIPE,
                stdout=PIPE,
                stderr=errors,
                limit=LINE_BYTES,
                start_new_session=True,  # `node` is a script that starts the real one
            )
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.kill()

    def write(self, line: str) -> None:
        """Send a line to the standard input."""
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n".encode())

    async def finish(self) -> None:
        """Close the standard input, and wait for the end."""
        assert self._process.stdin
        self._process.stdin.close()
        async with asyncio.timeout(END_SECONDS):
            await self._reading
            status = await self._process.wait()
        assert status == 0, f"status {status}: {self._errors.read_text()[-2_000:]}"

    async def kill(self) -> None:
        """Kill the process and its children with SIGKILL."""
        if self._process.returncode is None:  # later the number may be of another group
            os.killpg(self._process.pid, SIGKILL)
        await self._process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self._process.stdout
        while line := await self._process.stdout.readline():
            if line.endswith(b"\n"):  # a killed process may leave half a line
                self._add(line)


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process; 0 where it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return 1_024 * int(line.split()[1])
    return 0


def python(module: str, argument: object) -> list[str]:
    """Return the command of a module with one argument."""
    return [sys.executable, "-m", module, orjson.dumps(argument).decode()]


def node(bundle: Path, argument: object) -> list[str]:
    """Return the command of the npm clients."""
    script = str(Path(__file__).with_name("client.mjs"))
    return [NODE, script, str(bundle), orjson.dumps(argument).decode()]


def build_client(folder: Path) -> Path:
    """Build the npm client as one file, and return its path."""
    bundle = folder / "client-bundle.mjs"
    esbuild = CLIENT_JS / "node_modules" / "esbuild" / "bin" / "esbuild"
    options = ("--bundle", "--format=esm", "--platform=neutral", "--packages=external")
    command = [str(esbuild), str(CLIENT_JS / "src" / "index.ts"), *options]
    subprocess.run([*command, f"--outfile={bundle}", "--log-level=error"], check=True)
    return bundle
