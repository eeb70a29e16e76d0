"""Effects of faults on a deployment."""

import asyncio
import resource
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from signal import SIGCONT, SIGSTOP

from realtime_bridge.model.event import Event
from realtime_bridge.model.ids import event_id
from realtime_bridge.testing import FaultyProxy
from tests.lab.deployment import Deployment
from tests.lab.history import Record
from tests.lab.schedule import ANSWERS, KINDS, Fault

BURST_EVENTS = 800
"""More than one page, fewer than the log keeps."""

PAGE_BYTES = 60_000
"""A part of a page of 500 events."""

SLOW_BYTES, SLOW_SECONDS = 20_000, 0.2
BODIES = {"newlines": b'{\n"a":\n1\n}', "surrogate": b'{"text":"\\ud800"}'}
Effect = Callable[[Deployment, Fault], Awaitable[None]]


async def perform(deployment: Deployment, fault: Fault) -> None:
    """Begin a fault, wait for its duration, and end it; record both moments."""
    begin, end = EFFECTS[KINDS[fault.kind]]
    history, name = deployment.history, fault.kind
    history.records.append(Record(time.time(), name, "fault", text=str(fault)))
    await begin(deployment, fault)
    await asyncio.sleep(fault.lasts)
    await end(deployment, fault)
    history.records.append(Record(time.time(), name, "healed", text=str(fault)))


async def _cut_link(deployment: Deployment, fault: Fault) -> None:
    for link in _links(deployment, fault):
        _disturb(link, fault.kind)


def _disturb(link: FaultyProxy, kind: str) -> None:
    match kind:
        case "refuse":
            link.close_port()
            link.drop()
        case "reset":
            link.refuse()
            link.drop()
        case "freeze":
            link.freeze()
        case "lose":
            link.swallow()
        case "lose_up":
            link.swallow("up")
        case "lose_down":
            link.swallow("down")
        case "lose_paging":
            link.lose_requests(received=PAGE_BYTES)
        case _:
            link.throttle(SLOW_BYTES)
            link.delay(SLOW_SECONDS)


async def _heal_link(deployment: Deployment, fault: Fault) -> None:
    for link in _links(deployment, fault):
        link.heal()
        if fault.kind == "refuse":
            await link.open_port()


def _links(deployment: Deployment, fault: Fault) -> Iterator[FaultyProxy]:
    for name, link in deployment.links.items():
        if fault.target == name or (fault.target == "log:*" and name.startswith("log:")):
            yield link


async def _disturb_node(deployment: Deployment, fault: Fault) -> None:
    number, cluster = _number(fault), deployment.cluster
    match fault.kind:
        case "kill":
            cluster.kill(number)
        case "stop":
            cluster.send(number, SIGSTOP)
        case "restart":
            await cluster.restart(number)
        case _:
            _limit_files(cluster.pid(number), to_open_ones=True)


async def _heal_node(deployment: Deployment, fault: Fault) -> None:
    number, cluster = _number(fault), deployment.cluster
    match fault.kind:
        case "kill":
            await cluster.start(number)
        case "stop":
            cluster.send(number, SIGCONT)
        case "few_files":
            _limit_files(cluster.pid(number), to_open_ones=False)
        case _:
            pass


def _limit_files(pid: int, *, to_open_ones: bool) -> None:
    """Limit the file descriptors of a process to those that are open, or to its maximum."""
    _, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = len(list(Path(f"/proc/{pid}/fd").iterdir())) if to_open_ones else most
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used, most))


def _number(fault: Fault) -> int:
    return int(fault.target.partition(":")[2])


async def _disturb_server(deployment: Deployment, fault: Fault) -> None:
    log, server = deployment.server, deployment.server.server
    actions = {
        "shutdown": server.stop,
        "crash": server.kill,
        "pause": server.pause,
        "wipe": log.wipe,
        "end_feeds": log.end_feeds,
    }
    await asyncio.to_thread(actions[fault.kind])


async def _heal_server(deployment: Deployment, fault: Fault) -> None:
    server = deployment.server.server
    actions = {"shutdown": server.start, "crash": server.start, "pause": server.resume}
    if action := actions.get(fault.kind):
        await asyncio.to_thread(action)


async def _answer(deployment: Deployment, fault: Fault) -> None:
    status, headers, body = ANSWERS[fault.kind]
    head = f"HTTP/1.1 {status}\r\n{headers}Content-Type: text/html\r\nConnection: close\r\n"
    response = f"{head}Content-Length: {len(body)}\r\n\r\n{body}"
    deployment.balancer.answer(fault.target, response.encode())


async def _forward(deployment: Deployment, fault: Fault) -> None:
    deployment.balancer.forward(fault.target)


async def _disturb_channel(deployment: Deployment, fault: Fault) -> None:
    match fault.kind:
        case "burst":
            deployment.publisher.write(f"burst {fault.target} {BURST_EVENTS}")
        case "garbage":
            await asyncio.to_thread(deployment.server.garbage, fault.target)
        case _:
            await _append(deployment, fault.target, BODIES[fault.kind])


async def _append(deployment: Deployment, channel: str, body: bytes) -> None:
    """Append an event whose body this library would not encode so."""
    event = Event.from_trusted(
        channel, "job.odd", body, id=event_id(), key=None, source=None, time=None, position=None
    )
    async with deployment.server.log() as log:
        (receipt,) = await log.append([event])
    position = receipt.position
    assert position
    record = Record(
        time.time(), "lab", "acknowledged", channel, event.id, position.epoch, position.offset
    )
    deployment.history.records.append(record)


async def _kill_publisher(deployment: Deployment, fault: Fault) -> None:
    await deployment.kill_publisher()


async def _start_publisher(deployment: Deployment, fault: Fault) -> None:
    await deployment.start_publisher()


async def _nothing(deployment: Deployment, fault: Fault) -> None:
    pass


EFFECTS: dict[str, tuple[Effect, Effect]] = {
    KINDS["refuse"]: (_cut_link, _heal_link),
    KINDS["kill"]: (_disturb_node, _heal_node),
    KINDS["shutdown"]: (_disturb_server, _heal_server),
    KINDS["302"]: (_answer, _forward),
    KINDS["burst"]: (_disturb_channel, _nothing),
    KINDS["kill_publisher"]: (_kill_publisher, _start_publisher),
}
"""Begin and end of a fault, by the kind of its target."""
