"""Vectors of the parts around the state machine: see tests/vectors/README.md."""

import asyncio
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec import to_builtins

from realtime_bridge import Event
from realtime_bridge.client.bridge_http import BridgeHTTP, HTTPResult, read_response
from realtime_bridge.client.descriptor import DescriptorStore
from realtime_bridge.client.runner import ClientRunner
from realtime_bridge.client.subscription_set import ChannelDenied, SubscriptionSet
from realtime_bridge.client.transport import TransportHandlers, TransportTools
from realtime_bridge.client.transport_manager import TransportManager
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.client.commands import Command, Options
from realtime_bridge.protocol.client.machine import Machine
from realtime_bridge.protocol.client.timing import Timing

FILE = json.loads((Path(__file__).parents[1] / "vectors" / "shell.json").read_text())
URL = "https://example.com/realtime"
TURNS = 10
"""Turns of the event loop in which the tasks of one step end."""


class RecordingMachine:
    """Machine that records its inputs with all arguments, and has no commands."""

    def __init__(self) -> None:
        self.inputs: list[list[Any]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        signature = inspect.signature(getattr(Machine, name))

        def record(*args: Any, **kwargs: Any) -> None:
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            _, *arguments = bound.arguments.items()
            self.inputs.append([name, {key: plain(value) for key, value in arguments}])

        return record


def plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


class Runner:
    """Runner that settles nothing."""

    def __init__(self) -> None:
        self.machine = RecordingMachine()

    def batch(self, handle: Callable[..., None], *args: Any) -> None:
        handle(*args)


class HTTP:
    """Bridge whose responses the steps give."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.pending: list[asyncio.Future[HTTPResult]] = []

    async def post(self, url: str, fields: Mapping[str, Any], token: str) -> HTTPResult:
        route = url.removeprefix(f"{URL}/")
        self.requests.append({"route": route, "body": to_builtins(fields), "token": token})
        response: asyncio.Future[HTTPResult] = asyncio.get_running_loop().create_future()
        self.pending.append(response)
        return await response


def result_of(
    status: int | None,
    fields: Mapping[str, Any] | None = None,
    text: str | None = None,
    retry_after: int | None = None,
) -> HTTPResult:
    """Return the result of a response with JSON fields, or with a text of something else."""
    if status is None:
        return HTTPResult()
    headers = {"content-type": "application/json" if text is None else "text/html"}
    if retry_after is not None:
        headers["retry-after"] = str(retry_after // 1_000)
    body = json.dumps(fields or {}) if text is None else text
    return read_response(status, body.encode(), headers)


class Timers:
    """Timers in virtual time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[Timer] = []

    def call_later(self, seconds: float, callback: Callable[[], None]) -> "Timer":
        timer = Timer(self.now + seconds, callback)
        self._timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [t for t in self._timers if t.at <= end and not t.is_cancelled]:
            timer = min(due, key=lambda each: each.at)
            self._timers.remove(timer)
            self.now = timer.at
            timer.callback()
        self.now = end


class Timer:
    def __init__(self, at: float, callback: Callable[[], None]) -> None:
        self.at = at
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class RecordingTransport:
    """Transport whose events the steps give."""

    def __init__(self, handlers: TransportHandlers) -> None:
        self.handlers = handlers
        self.sent: list[dict[str, Any]] = []
        self.nonces: dict[str, str] = {}
        self.is_closed = False
        self.end: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        self.handlers.closed(await self.end, "")

    def send(self, message: Mapping[str, Any]) -> None:
        if message["type"] in ("connect", "ping"):
            name = "NONCE" if message["type"] == "connect" else "PING"
            self.nonces[name] = message["nonce"]
        nonce = {"nonce": "NONCE"} if "nonce" in message else {}
        self.sent.append({**to_builtins(message), **nonce})

    def close(self) -> None:
        self.is_closed = True

    def receive(self, message: Mapping[str, Any]) -> None:
        nonce = message.get("nonce", "")
        known = {"nonce": self.nonces[nonce]} if nonce in self.nonces else {}
        self.handlers.receive({**message, **known})


class Shell:
    """Client without a machine and a network, driven by the steps of a vector."""

    def __init__(self, vector: Mapping[str, Any], tasks: asyncio.TaskGroup) -> None:
        positions = {
            name: position and Position.from_json(position)
            for name, position in vector["channels"].items()
        }
        self.channels = SubscriptionSet(positions, "c_1")
        self.http, self.timers, self.runner = HTTP(), Timers(), Runner()
        self.transports: list[RecordingTransport] = []
        http = cast("BridgeHTTP", self.http)
        tools = TransportTools(
            timing=Timing(),
            http=http,
            descriptors=DescriptorStore(URL, client="c_1", token="application", http=http),
            channels=self.channels,
            call_later=self.timers.call_later,
        )
        self.manager = TransportManager(
            tools,
            cast("ClientRunner", self.runner),
            tasks,
            transport="auto",
            options=Options(),
            transports={"websocket": self._open},
        )

    def _open(self, _: TransportTools, handlers: TransportHandlers) -> RecordingTransport:
        self.transports.append(RecordingTransport(handlers))
        return self.transports[-1]

    def act(self, step: Mapping[str, Any]) -> None:
        """Do what a step describes."""
        if "command" in step:
            self.manager.perform(Command(step["command"], step.get("socket"), step.get("code")))
        elif "http" in step:
            response = self.http.pending.pop(0)
            if not response.done():  # an aborted request has no response
                response.set_result(result_of(**step["http"]))
        elif "advance" in step:
            self.timers.advance(step["advance"] / 1_000)
        else:
            self._act_on(self.transports[step.get("socket", 1) - 1], step)

    def _act_on(self, transport: RecordingTransport, step: Mapping[str, Any]) -> None:
        if "opened" in step:
            transport.handlers.opened()
        elif "receive" in step:
            transport.receive(step["receive"])
        elif not transport.end.done():  # a transport that the client closed ends silently
            transport.end.set_result(step["closed"])

    def effects(self) -> dict[str, Any]:
        """Return the effects since the last call."""
        inputs, self.runner.machine.inputs = self.runner.machine.inputs, []
        requests, self.http.requests = self.http.requests, []
        send = []
        for number, transport in enumerate(self.transports, start=1):
            send += [[number, message] for message in transport.sent]
            transport.sent = []
        deliver = [item_fields(item) for item in iter(self.channels.take, None)]
        return {"inputs": inputs, "requests": requests, "send": send, "deliver": deliver}

    def state(self) -> dict[str, Any]:
        closed = [n for n, each in enumerate(self.transports, start=1) if each.is_closed]
        errors, behind = self.channels.errors, sorted(self.channels.behind)
        return {"closed_by_client": closed, "errors": errors, "behind": behind}


def item_fields(item: Any) -> dict[str, Any]:
    if isinstance(item, Event):
        return {"channel": item.channel, "event": item.id}
    if isinstance(item, ChannelDenied):
        return {"channel": item.channel, "error": item.message}
    position = item.position.to_json() if item.position else None
    return {"channel": item.channel, "reset": item.reason, "position": position}


async def turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


@pytest.mark.parametrize("vector", FILE["vectors"], ids=[v["name"] for v in FILE["vectors"]])
async def test_shell(vector: dict[str, Any]) -> None:
    async with asyncio.TaskGroup() as tasks:
        shell = Shell(vector, tasks)
        steps = [*FILE["starts"][vector["start"]], *vector["steps"]]
        for number, step in enumerate(steps):
            where = f"step {number}: {step}"
            shell.act(step)
            await turns()
            effects, state = shell.effects(), shell.state()
            for name, effect in effects.items():
                assert effect == step.get(name, []), f"{where}: {name}"
            for name in state.keys() & step.keys():
                assert state[name] == step[name], f"{where}: {name}"
        for response in shell.http.pending:
            response.cancel()
        for transport in shell.transports:
            transport.end.cancel()
