"""Server nodes and worker processes, as an operator runs them."""

import asyncio
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGTERM, Signals
from types import TracebackType
from typing import Self

import orjson

from tests.cli.processes import SECRET, Process, ServeProcess
from tests.services.programs import free_port

ROOT = Path(__file__).parent.parent.parent


class Cluster:
    """Server nodes; a restarted node keeps its port.

    Args:
        nodes: the number of nodes.
        folder: the working directory.
        variables: the environment variables of all nodes and workers.
        own: the additional variables of single nodes, by number.
        options: more options of `serve`.

    """

    def __init__(
        self,
        nodes: int,
        *,
        folder: Path,
        variables: Mapping[str, str],
        own: Mapping[int, Mapping[str, str]] | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self._options = ("--grace", "10", *options)
        self.variables = {"REALTIME_SECRET": SECRET, **variables}
        self.ports = [free_port() for _ in range(nodes)]
        self._own = own or {}
        self._folder = folder
        self._exits = ExitStack()
        self._nodes: list[ServeProcess] = []
        self._former: list[tuple[int, ServeProcess]] = []

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            self._nodes = [
                exits.enter_context(self._start(number)) for number in range(len(self.ports))
            ]
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exits.close()

    def pid(self, number: int) -> int:
        """Return the process id of a node."""
        return self._nodes[number].pid

    def send(self, number: int, signal: Signals) -> None:
        """Send a signal to a node."""
        self._nodes[number].send(signal)

    def logs(self) -> Iterator[tuple[int, float, str]]:
        """Yield the number, Unix time and text of each log line, of former processes too."""
        for number, process in [*self._former, *enumerate(self._nodes)]:
            for at, line in process.log:
                yield number, at, line

    def kill(self, number: int) -> None:
        """Kill a node with SIGKILL."""
        self._nodes[number].kill()

    async def stop(self, number: int) -> None:
        """Stop a node with SIGTERM, and wait for its end."""
        self._nodes[number].send(SIGTERM)
        status, _ = await asyncio.to_thread(self._nodes[number].finish)
        assert status == 0, self._nodes[number].errors

    async def restart(self, number: int) -> None:
        """Stop a node with SIGTERM, and start it again after its end."""
        await self.stop(number)
        await self.start(number)

    async def start(self, number: int) -> None:
        """Start a stopped node."""
        process = await asyncio.to_thread(self._start, number)
        self._former.append((number, self._nodes[number]))
        self._nodes[number] = self._exits.enter_context(process)

    def _start(self, number: int) -> ServeProcess:
        variables = {**self.variables, **self._own.get(number, {})}
        port = self.ports[number]
        return ServeProcess(*self._options, folder=self._folder, variables=variables, port=port)


@dataclass
class Published:
    """Events that the log acknowledged to the workers."""

    ids: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Ids of the events, by channel."""
    retries: int = 0
    """Number of publishes that raised `PublishError`, and were repeated."""


async def publish(
    workers: int, events: int, channels: Sequence[str], *, seconds: float, cluster: Cluster
) -> Published:
    """Run worker processes that publish `events` each, spread over channels and `seconds`."""
    with ExitStack() as exits:  # a cancelled test leaves no worker process
        processes = []
        for number in range(workers):
            task = orjson.dumps([number, events, channels, seconds]).decode()
            command = (sys.executable, "-m", "tests.nodes.worker", task)
            process = Process(*command, folder=ROOT, variables=cluster.variables)
            processes.append(exits.enter_context(process))
        reports = [asyncio.to_thread(_report, process) for process in processes]
        return _merge(await asyncio.gather(*reports))


def _report(process: Process) -> dict[str, object]:
    status, output = process.finish()
    assert status == 0, "\n".join(process.errors)
    report: dict[str, object] = orjson.loads(output)
    return report


def _merge(reports: Sequence[dict[str, object]]) -> Published:
    published = Published()
    for report in reports:
        assert isinstance(report["ids"], dict)
        assert isinstance(report["retries"], int)
        published.retries += report["retries"]
        for channel, ids in report["ids"].items():
            published.ids[channel].update(ids)
    return published
