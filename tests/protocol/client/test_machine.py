"""State machine of the hybrid client with any inputs, in any order and at any time."""

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from realtime_bridge.protocol.client.commands import Command, Options, Terms
from realtime_bridge.protocol.client.machine import Machine
from realtime_bridge.protocol.client.poll_schedule import SLOW_DOWN
from realtime_bridge.protocol.client.state import RESTING

draws = st.floats(0, 1, exclude_max=True)
statuses = st.sampled_from([None, 401, 403, 404, 429, 500, 503])
codes = st.sampled_from([1000, 1006, 1012, 4400, 4401, 4403, 4408, 4409, 4410, 4500, 4503, 4508])
refusals = st.sampled_from([None, "token_expired", "token_unknown_key", "revoked"])
options = st.builds(
    Options,
    polling_interval=st.sampled_from([500, 5_000, 30_000]),
    fallback_delay=st.sampled_from([1_000, 15_000, 60_000]),
    max_reconnect_attempts=st.integers(1, 6),
    push=st.sampled_from([True, True, True, False]),
)
terms = st.builds(
    Terms,
    mode=st.sampled_from(["realtime", "realtime", "realtime", "polling"]),
    max_age=st.sampled_from([None, None, 60_000]),
    generation=st.integers(0, 3),
    expires=st.sampled_from([0, 10_000, 600_000]),
)
inputs: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "start": st.builds(dict, cached=st.none() | terms),
    "retry": st.just({}),
    "refresh": st.just({}),
    "stop": st.just({}),
    "descriptor_received": st.builds(dict, terms=terms),
    "descriptor_failed": st.builds(dict, status=statuses, code=refusals),
    "drain": st.builds(dict, after=st.integers(0, 9_000), window=st.integers(0, 9_000)),
    "health": st.builds(
        dict, ok=st.booleans(), sent=st.none() | st.sampled_from([0, 9_000, 20_000])
    ),
    "answer_overdue": st.just({}),
    "answered": st.builds(dict, prompt=st.booleans()),
    "answer_missing": st.just({}),
    "clock_changed": st.just({}),
    "focused": st.just({}),
    "sync_changed": st.builds(dict, ok=st.booleans(), loaded=st.booleans()),
    "generation": st.builds(dict, generation=st.integers(0, 4)),
    "poll_succeeded": st.builds(
        dict,
        moved=st.booleans(),
        more=st.booleans(),
        next_ms=st.sampled_from([None, 0, 1_000, 60_000]),
        ok=st.booleans(),
    ),
    "poll_failed": st.builds(
        dict,
        status=statuses,
        retry_after=st.sampled_from([None, 0, 30_000, 10**9]),
        code=refusals,
    ),
    "event_received": st.just({}),
    "offline": st.just({}),
    "online": st.just({}),
    "hidden": st.builds(dict, keep=st.booleans()),
    "visible": st.just({}),
    "resumed": st.just({}),
    "opened": st.just({}),
    "ready": st.just({}),
    "message_received": st.just({}),
    "closed": st.builds(dict, code=codes, reason=refusals),
}
SOCKET_INPUTS = (
    *("opened", "ready", "message_received", "closed", "drain", "health"),
    *("answer_overdue", "answered", "answer_missing", "clock_changed"),
)


class Runner:
    """Performs the machine's commands, and checks the promises that a client runner needs."""

    def __init__(self, chosen: Options) -> None:
        self.machine = Machine(chosen)
        self.push = chosen.push
        self.now = 0
        self.sockets: set[int] = set()
        self.is_polling = False

    def give(self, name: str, draw: float, **args: Any) -> list[Command]:
        self.machine.now, self.machine.draw = self.now, draw
        getattr(self.machine, name)(**args)
        commands = self.machine.take_commands()
        if name == "closed":
            self.sockets.discard(args["socket"])
        if name in ("poll_succeeded", "poll_failed"):
            self.is_polling = False
        for command in commands:
            self.perform(command)
        self.check(ticked=name == "tick")
        return commands

    def perform(self, command: Command) -> None:
        if command.do == "open":
            assert command.socket is not None
            self.sockets.add(command.socket)
            assert len(self.sockets) <= 2
        elif command.do in ("probe", "token", "ping", "close"):
            assert command.socket in self.sockets
            if command.do == "close":
                self.sockets.remove(command.socket)
        elif command.do == "poll":
            assert not self.is_polling, "two polls in flight"
            self.is_polling = True
        elif command.do == "abandon":
            assert self.is_polling
            self.is_polling = False

    def check(self, *, ticked: bool) -> None:
        machine = self.machine
        machine.connection_status(self.now)
        assert not ticked or machine.wake_at is None or machine.wake_at > self.now
        assert self.is_polling == machine.poll_schedule.in_flight
        if machine.mode in RESTING:
            assert machine.wake_at is None
            assert not self.sockets
            assert not self.is_polling
            return
        assert machine.wake_at is not None
        assert machine.polling <= (self.is_polling or "poll" in machine.timers)
        assert self.push or not self.sockets
        if machine.mode == "FALLBACK" and machine.terms and machine.terms.mode == "realtime":
            assert not self.push or machine.timers.keys() & {
                "reconnect",
                "describe",
                "describe_again",
            }

    def advance(self, milliseconds: int, draw: float) -> None:
        """Let time pass, with each tick that is due."""
        end = self.now + milliseconds
        while self.machine.wake_at is not None and self.machine.wake_at <= end:
            self.now = max(self.now, self.machine.wake_at)
            self.give("tick", draw)
        self.now = end


class AnyOrder(RuleBasedStateMachine):
    """Sensible inputs, and others."""

    @initialize(chosen=options)
    def choose(self, chosen: Options) -> None:
        self.runner = Runner(chosen)

    @rule(data=st.data(), name=st.sampled_from(sorted(inputs)), draw=draws)
    def give(self, data: st.DataObject, name: str, draw: float) -> None:
        args = data.draw(inputs[name])
        if name in SOCKET_INPUTS:
            args = args | {"socket": data.draw(st.sampled_from([*sorted(self.runner.sockets), 99]))}
        self.runner.give(name, draw, **args)

    @rule(data=st.data(), draw=draws)
    def go_live(self, data: st.DataObject, draw: float) -> None:
        self.runner.give("descriptor_received", draw, terms=data.draw(terms))
        for socket in sorted(self.runner.sockets):
            self.runner.give("opened", draw, socket=socket)
            if socket in self.runner.sockets:
                self.runner.give("ready", draw, socket=socket)

    @rule(draw=draws, milliseconds=st.sampled_from([1, 100, 1_000, 3_000, 10_000, 70_000]))
    def wait(self, draw: float, milliseconds: int) -> None:
        self.runner.advance(milliseconds, draw)

    @rule(draw=draws, milliseconds=st.sampled_from([20_000, 400_000, 10_000_000]))
    def sleep(self, draw: float, milliseconds: int) -> None:
        self.runner.now += milliseconds
        self.runner.give("tick", draw)

    @rule(draw=draws)
    def stop(self, draw: float) -> None:
        self.runner.give("stop", draw)

    @invariant()
    def start_is_not_in_the_future(self) -> None:
        assert self.runner.machine.started <= self.runner.now


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=200, stateful_step_count=60)

FAULTS = st.lists(
    st.tuples(
        st.sampled_from(
            sorted(set(inputs) - {"stop", "start", "hidden", "descriptor_received", "drain"})
        ),
        st.integers(0, 20_000),
    ),
    max_size=25,
)


Later = tuple[str, dict[str, Any]]
Network = Callable[[Command], Later | None]


def silent(_: Command) -> Later | None:
    return None


def refuses(command: Command) -> Later | None:
    return ("closed", {"socket": command.socket, "code": 1006}) if command.do == "open" else None


def opens_only(command: Command) -> Later | None:
    return ("opened", {"socket": command.socket}) if command.do == "open" else None


def works(command: Command) -> Later | None:
    answers = {"open": "opened", "probe": "ready"}
    if command.do in answers:
        return answers[command.do], {"socket": command.socket}
    return None


def closes_on_ping(command: Command) -> Later | None:
    if command.do == "ping":
        return "closed", {"socket": command.socket, "code": 4401}
    return works(command)


class WorkingHTTP(Runner):
    """Runner whose requests are all answered after 50 ms, once HTTP works."""

    def __init__(self, chosen: Options, network: Network, draw: float) -> None:
        super().__init__(chosen)
        self.works = False
        self._network = network
        self._draw = draw
        self._pending: list[tuple[int, Later]] = []

    def perform(self, command: Command) -> None:
        super().perform(command)
        answer: Later | None
        if command.do in ("describe", "renew"):
            answer = ("descriptor_received", {"terms": Terms()})
        elif command.do == "poll":
            answer = ("poll_succeeded", {})
        else:
            answer = self._network(command)
        if command.do == "abandon":
            self._pending = [one for one in self._pending if one[1][0] != "poll_succeeded"]
        if answer and self.works:
            self._pending.append((self.now + 50, answer))

    def step(self, *, within: int | None = None) -> None:
        """Let the next answer or timer come, or let `within` milliseconds pass."""
        wake = self.machine.wake_at
        assert wake is not None
        self._pending.sort(key=lambda later: later[0])
        due = min([wake, *(at for at, _ in self._pending)])
        if within is not None and due > self.now + within:
            self.now += within
        elif self._pending and self._pending[0][0] <= wake:
            at, (name, args) = self._pending.pop(0)
            self.now = max(self.now, at)
            self.give(name, self._draw, **args)
        else:
            self.now = max(self.now, wake)
            self.give("tick", self._draw)


@settings(max_examples=300)
@given(
    chosen=options,
    faults=FAULTS,
    draw=draws,
    network=st.sampled_from([silent, refuses, opens_only, works, closes_on_ping]),
    data=st.data(),
)
def test_client_is_live_or_polls_while_http_works(
    chosen: Options,
    faults: list[tuple[str, int]],
    draw: float,
    network: Network,
    data: st.DataObject,
) -> None:
    runner = WorkingHTTP(chosen, network, draw)
    runner.give("start", draw)
    for name, wait in faults:
        args = data.draw(inputs[name])
        runner.give(name, draw, **(args | {"socket": 1} if name in SOCKET_INPUTS else args))
        runner.advance(wait, draw)
    runner.works = True
    informed, limit = runner.now, max(chosen.fallback_delay, 15_000) + 3_000 + 50
    for _ in range(200):
        if runner.machine.mode in RESTING:
            return
        fine = runner.machine.mode == "LIVE" or runner.machine.polling
        runner.step()
        informed = runner.now if fine else informed
        assert runner.now - informed <= limit


@settings(max_examples=300)
@given(chosen=options, faults=FAULTS, draw=draws, data=st.data())
def test_client_is_current_within_30_s_when_everything_works(
    chosen: Options, faults: list[tuple[str, int]], draw: float, data: st.DataObject
) -> None:
    runner = WorkingHTTP(chosen, works, draw)
    runner.give("start", draw)
    for name, wait in faults:
        args = data.draw(inputs[name])
        # A server that asks for a long wait does not work again before its end.
        args = args | {"retry_after": None} if "retry_after" in args else args
        args = args | {"next_ms": None} if "next_ms" in args else args
        args = args | {"status": 500} if args.get("status") in SLOW_DOWN else args
        runner.give(name, draw, **(args | {"socket": 1} if name in SOCKET_INPUTS else args))
        runner.advance(wait, draw)
    runner.works = True
    runner.give("online", draw)
    end = runner.now + 30_000
    while runner.now < end:
        if runner.machine.mode in RESTING:
            return
        for socket in sorted(runner.sockets):
            runner.give("message_received", draw, socket=socket)
            runner.give("health", draw, socket=socket, ok=True)
            runner.give("answered", draw, socket=socket, prompt=True)
        runner.give("sync_changed", draw, ok=True)
        runner.step(within=1_000)
    assert runner.machine.connection_status(runner.now).kind in ("realtime", "polling")
