"""Targets of the fuzzers: what a stranger or a signed-in user can send, and what must hold."""

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch
from urllib.parse import urlencode

import orjson
from hypothesis import strategies as st
from websockets.frames import OP_CONT, OP_TEXT, Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.presence.member_list import MemberList, PresenceChange
from realtime_bridge.protocol.pusher.call_error import CallError
from realtime_bridge.protocol.pusher.calls import CallLimits, read_batch, read_event
from realtime_bridge.protocol.pusher.events import to_body, to_text
from realtime_bridge.protocol.pusher.members import describe_members, encode_change, read_member
from realtime_bridge.protocol.pusher.names import decode_name
from realtime_bridge.protocol.pusher.session import PusherSession
from realtime_bridge.protocol.pusher.session_commands import PusherLimits, PusherTiming, SignIn
from realtime_bridge.protocol.pusher.session_commands import Subscribe as PusherSubscribe
from realtime_bridge.protocol.pusher.signatures import PusherApp, channel_text, user_text
from realtime_bridge.protocol.session.session import Session
from realtime_bridge.protocol.session.session_commands import (
    Close,
    Command,
    ConnectionLimits,
    Subscribe,
    VerifyToken,
)
from realtime_bridge.protocol.wire.close_codes import CloseCode
from realtime_bridge.protocol.wire.rpc import signed_headers
from realtime_bridge.protocol.wire.websocket_frames import (
    ControlFrame,
    Fragment,
    FrameParser,
    Oversized,
    WireError,
)
from realtime_bridge.server import Bridge
from realtime_bridge.server.auth.tokens import Tokens
from realtime_bridge.settings import Settings
from tests.fuzz import http
from tests.server.raw import frame

SECRET = "a secret of the fuzzers: 32 bytes long at least"
EPOCH = "k3v9q2wz"
LIMIT = 200

Check = Callable[[Any], None]

# -- parts of inputs ---------------------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
CHANNELS = st.sampled_from(["job.1", "job.2", "user-42", "@realtime", "private-a", "", "é", "a b"])
POSITIONS = (
    st.none()
    | st.fixed_dictionaries(
        {"epoch": st.sampled_from([EPOCH, "aaaaaaaa", "", "x" * 100]), "offset": st.integers()},
        optional={"id": JSON},
    )
    | JSON
)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["origin", "cookie", "authorization", "content-type", "last-event-id", "sec-fetch-site"]
    ),
    st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=40),
    max_size=3,
)


def encoded(value: object) -> bytes:
    """Return JSON; unlike orjson, with numbers of any size and halves of characters."""
    return json.dumps(value).encode()


def mutated(valid: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Return valid input with a few bytes replaced, inserted or deleted."""

    def apply(data: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
        for at, deleted, inserted in changes:
            start = at % (len(data) + 1)
            data = data[:start] + inserted + data[start + deleted :]
        return data

    change = st.tuples(st.integers(0, 10_000), st.integers(0, 3), st.binary(max_size=3))
    return st.builds(apply, valid, st.lists(change, max_size=3))


# -- parsers of frames -------------------------------------------------------------------------

FRAMES = st.builds(
    frame,
    st.sampled_from([0, 1, 2, 8, 9, 10, 3, 15]),
    st.binary(max_size=LIMIT + 50) | st.just(b"\x03\xe8"),
    final=st.booleans(),
    reserved=st.sampled_from([0, 0, 0, 0x40, 0x10]),
    mask=st.sampled_from([b"mask", b"mask", b"\0\0\0\0", None]),
)
STREAMS = st.tuples(
    mutated(st.lists(FRAMES, max_size=8).map(b"".join)) | st.binary(max_size=400),
    st.lists(st.integers(1, 50), min_size=1, max_size=4),
)


def pieces(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    turn = 0
    while data:
        size = sizes[turn % len(sizes)]
        yield data[:size]
        data, turn = data[size:], turn + 1


def parse(data: bytes, sizes: list[int]) -> list[tuple[str, object]]:
    """Return what the parser of the fast shell makes of the bytes, up to the first error."""
    parser, received = FrameParser(LIMIT), list[tuple[str, object]]()
    for piece in pieces(data, sizes):
        parser.feed(piece)
        while (item := parser.next_frame()) is not None:
            if isinstance(item, WireError):
                return [*received, ("error", None)]
            if isinstance(item, ControlFrame):
                received.append(("control", (item.opcode, item.payload)))
            elif isinstance(item, Oversized):
                return [*received, ("error", None)]
            elif not isinstance(item, Fragment):
                data = item.encode() if isinstance(item, str) else item
                received.append(("message", (isinstance(item, str), data)))
    return received


def reference(data: bytes) -> list[tuple[str, object]]:
    """Return the same of the parser in `websockets`, which the portable shell has."""
    protocol = ServerProtocol(max_size=LIMIT)
    protocol.state = OPEN
    protocol.parser = protocol.parse()  # as after the handshake
    next(protocol.parser)
    protocol.receive_data(data)
    received: list[tuple[str, object]] = []
    message, is_text = b"", False
    for event in protocol.events_received():
        assert isinstance(event, Frame)
        opcode, payload = Opcode(event.opcode), bytes(event.data)
        if opcode >= Opcode.CLOSE:
            received.append(("control", (int(opcode), payload)))
            if opcode == Opcode.CLOSE:
                return received
            continue
        message, is_text = (
            (message + payload, is_text) if opcode == OP_CONT else (payload, opcode == OP_TEXT)
        )
        if event.fin:
            try:
                message.decode() if is_text else None
            except UnicodeDecodeError:
                return [*received, ("error", None)]
            received.append(("message", (is_text, message)))
    if protocol.parser_exc is not None:
        received.append(("error", None))
    return received


def check_frames(value: tuple[bytes, list[int]]) -> None:
    """Both parsers agree, whatever the pieces."""
    data, sizes = value
    ours = parse(data, sizes)
    assert ours == parse(data, [len(data) + 1])
    closes = [at for at, item in enumerate(ours) if item[0] == "control" and item[1][0] == 8]  # type: ignore[index]
    if closes:
        ours = ours[: closes[0] + 1]  # nothing counts after a close
    theirs = reference(data)
    # The reference reports an error of a later frame at once, and a size before its text.
    shared = min(len(ours), len(theirs))
    without = [item for item in ours[:shared] if item[0] != "error"]
    assert without == theirs[: len(without)], (ours, theirs)
    assert ours[-1:] == theirs[-1:] or not {"error"}.isdisjoint(
        item[0] for item in (*ours[-1:], *theirs[-1:])
    ), (ours, theirs)


# -- session -----------------------------------------------------------------------------------

MESSAGES = st.one_of(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["connect", "subscribe", "unsubscribe", "ping", "token", "x"])},
        optional={
            "channel": CHANNELS | JSON,
            "position": POSITIONS,
            "token": st.text(max_size=10) | JSON,
            "nonce": st.text(max_size=10) | JSON,
            "version": st.just(1) | JSON,
        },
    ).map(encoded),
    JSON.map(encoded),
    st.binary(max_size=80),
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["text", "text", "text", "bytes", "frame", "oversized", "tick", "slow"]),
        mutated(MESSAGES),
        st.floats(0, 5),
    ),
    max_size=40,
)


def check_session(steps: list[tuple[str, bytes, float]]) -> None:
    """Each input is answered or ends the session once; after that nothing is done."""
    limits = ConnectionLimits(channels=3, frames_per_second=5.0, frame_bytes=1_000)
    session, now, closes = Session(limits, draw=0.5, now=0.0), 0.0, 0
    for kind, data, pause in steps:
        now += pause
        commands = _step(session, kind, data, now)
        assert not (closes and commands)
        while commands:
            command, *commands = commands
            closes += isinstance(command, Close)
            commands += _perform(session, command, now)
        assert closes <= 1
        assert len(session.subscriptions) <= limits.channels


def _step(session: Session, kind: str, data: bytes, now: float) -> list[Command]:
    steps: dict[str, Callable[[], list[Command]]] = {
        "text": lambda: session.receive(data.decode(errors="replace"), now),
        "bytes": lambda: session.receive(data, now),
        "frame": lambda: session.receive_frame(now),
        "oversized": lambda: session.reject(CloseCode.PROTOCOL, "too large"),
        "slow": lambda: session.mark_slow(now, unsent=10),
        "tick": lambda: session.tick(now, lambda _: 7, unsent=0),
    }
    return steps[kind]()


def _perform(session: Session, command: Command, now: float) -> list[Command]:
    if isinstance(command, VerifyToken):
        return session.accept("42", "c", expires=now + 60, now=now)
    if isinstance(command, Subscribe):
        page = Page(events=(), top=Position(EPOCH, 3, "id"), more=False)
        session.subscription_ready(command.subscription, page, recovered=True)
    return []


# -- requests ----------------------------------------------------------------------------------


class Server:
    """Bridge without a network: requests are calls."""

    def __init__(self, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._bridge = Bridge(Settings(secret=SECRET, **options))
        self._bridge.channel("job.{job}")(lambda user, job: job == "1")
        self._loop.run_until_complete(self._bridge.__aenter__())

    def close(self) -> None:
        self._loop.run_until_complete(self._bridge.__aexit__(None, None, None))
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def request(self, method: str, route: str, body: bytes, headers: dict[str, str]) -> int:
        """Return the status, after the checks that hold for each response."""
        path, _, query = route.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": f"/realtime/{path}",
            "query_string": query.encode("latin-1", "replace"),
            "headers": [
                (name.lower().encode(), text.encode("latin-1", "replace"))
                for name, text in headers.items()
            ],
        }
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        self._loop.run_until_complete(self._bridge(scope, receive, send))
        start, *rest = sent
        content = b"".join(part["body"] for part in rest)
        status = int(start["status"])
        assert status < 500, (status, content)
        assert SECRET.encode() not in content
        fields = orjson.loads(content)
        assert status < 400 or set(fields["error"]) >= {"code", "message"}
        return status


BODIES = mutated(
    st.fixed_dictionaries(
        {"positions": st.dictionaries(CHANNELS, POSITIONS, max_size=4) | JSON},
        optional={"wait": st.sampled_from([0, None, "1", -1, 1e9, True]) | st.just([])},
    ).map(encoded)
)
VALID = {"channel": "job.1", "event": "job.step"}
EVENTS = st.just(VALID) | st.fixed_dictionaries(
    {},
    optional={
        "channel": CHANNELS | JSON,
        "event": st.sampled_from(["job.step", "", "x" * 201, "\x1b"]) | JSON,
        "data": JSON,
        "id": JSON,
        "key": JSON,
        "source": JSON,
    },
).map(lambda fields: {**VALID, **fields})
CALLS = mutated(st.fixed_dictionaries({"events": st.lists(EVENTS, max_size=4) | JSON}).map(encoded))
NAMES = st.text(max_size=30) | st.sampled_from(
    [
        "job.1",
        "realtime:job.1",
        "realtime:job.1 realtime:job.2",
        "private-realtime.job.1",
        "private-realtime.job.2",
    ]
)
FORMS = st.fixed_dictionaries(
    {"socket_id": st.just("1.1") | st.text(max_size=10)},
    optional={
        "channel_name": NAMES,
        "channels": NAMES,
        "format": st.just("request") | st.text(max_size=5),
        "x": NAMES,
    },
)


@contextmanager
def polls() -> Iterator[Check]:
    server = Server(limit_channels_per_connection=1_000, limit_connections_per_user=100_000)
    bearer = f"Bearer {Tokens(SECRET, issuer='realtime').issue('42', seconds=100_000)}"

    def check(value: tuple[bytes, dict[str, str], str]) -> None:
        body, headers, query = value
        usual = {"authorization": bearer, "content-type": "application/json"}
        server.request("POST", "poll", body, usual)
        server.request("POST", "poll", body, {**usual, **headers})
        server.request("GET", f"latest?channel={query}&after={query}", b"", {**usual, **headers})
        server.request("POST", f"connect?{query}", body, {**usual, **headers})

    yield check
    server.close()


@contextmanager
def calls() -> Iterator[Check]:
    server = Server()

    def check(value: tuple[bytes, dict[str, str], str]) -> None:
        body, headers, text = value
        signed = signed_headers(SECRET, f"{time.time():.6f}", body)
        assert server.request("POST", "publish", body, signed) in (200, 400, 409)
        assert server.request("POST", "publish", body, headers) == 401
        names = ("realtime-timestamp", "realtime-signature")
        for name in names:
            assert server.request("POST", "publish", body, {**_lower(signed), name: text}) == 401

    yield check
    server.close()


def _lower(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): text for name, text in headers.items()}


PROVIDERS = {
    "pusher": {
        "REALTIME_PUSHER_APP_ID": "1",
        "REALTIME_PUSHER_KEY": "key",
        "REALTIME_PUSHER_SECRET": "a provider's secret",
        "REALTIME_PUSHER_HOST": "127.0.0.1",
    },
    "ably": {"REALTIME_ABLY_KEY": "app.key:a-secret"},
}


@contextmanager
def provider_authorizations(backend: str) -> Iterator[Check]:
    with patch.dict(os.environ, PROVIDERS[backend]):
        server = Server(backend=backend, log="memory")
    bearer = f"Bearer {Tokens(SECRET, issuer='realtime').issue('42', seconds=100_000)}"

    def check(value: tuple[dict[str, str], bytes, dict[str, str]]) -> None:
        fields, raw, headers = value
        form = {"authorization": bearer, "content-type": "application/x-www-form-urlencoded"}
        server.request("POST", f"auth/{backend}", urlencode(fields).encode(), form)
        server.request("POST", f"auth/{backend}", raw, form)
        kind = {**form, "content-type": "application/json"}
        server.request("POST", f"auth/{backend}", encoded(fields), kind)
        server.request("POST", f"auth/{backend}", raw, {**kind, **headers})

    yield check
    server.close()


@contextmanager
def _without_state(check: Check) -> Iterator[Check]:
    yield check


# -- Pusher's protocol -------------------------------------------------------------------------

PUSHER = PusherApp("1", "key", "a secret of the app")
PUSHER_NAMES = st.sampled_from(
    ["news", "private-job.1", "private-public.x", "presence-a", "#server-to-user-42", "é", ""]
)


def _signed_name(name: str) -> dict[str, str]:
    return {"channel": name, "auth": PUSHER.sign_for_client(channel_text("1.2", name))}


def _signed_member(member: object) -> dict[str, str]:
    data = encoded(member).decode()
    auth = PUSHER.sign_for_client(channel_text("1.2", "presence-a", data))
    return {"channel": "presence-a", "auth": auth, "channel_data": data}


def _signed_user(user: str) -> dict[str, str]:
    auth = PUSHER.sign_for_client(user_text("1.2", user))
    return {"user_data": user, "auth": auth}


PUSHER_DATA = (
    JSON
    | PUSHER_NAMES.map(_signed_name)
    | st.fixed_dictionaries(
        {}, optional={"user_id": st.sampled_from(["a", 7, ""]) | JSON, "user_info": JSON}
    ).map(_signed_member)
    | st.sampled_from(['{"id":"42"}', '{"id":7}', "{}", "x"]).map(_signed_user)
    | st.fixed_dictionaries(
        {"channel": PUSHER_NAMES}, optional={"auth": JSON, "channel_data": JSON}
    )
)
PUSHER_FRAMES = mutated(
    st.fixed_dictionaries(
        {
            "event": st.sampled_from(
                ["ping", "pong", "subscribe", "unsubscribe", "signin", "other"]
            ).map("pusher:".__add__)
            | st.just("client-x")
            | JSON
        },
        optional={"data": PUSHER_DATA, "channel": PUSHER_NAMES | JSON},
    ).map(encoded)
    | st.binary(max_size=80)
)
PUSHER_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["text", "text", "text", "bytes", "frame", "oversized", "tick"]),
        PUSHER_FRAMES,
        st.floats(0, 20),
    ),
    max_size=40,
)
PUSHER_CALLS = mutated(
    st.fixed_dictionaries(
        {},
        optional={
            "name": st.just("e") | JSON,
            "channel": PUSHER_NAMES | JSON,
            "channels": st.lists(PUSHER_NAMES | JSON, max_size=3) | JSON,
            "data": st.text(max_size=30) | JSON,
            "socket_id": st.just("1.2") | JSON,
            "info": st.just("subscription_count") | JSON,
            "batch": JSON,
        },
    ).map(encoded)
)


def check_pusher_session(steps: list[tuple[str, bytes, float]]) -> None:
    """Nothing follows a close, and no private channel is subscribed without a signature."""
    limits = PusherLimits(channels=3, frames_per_second=5.0, frame_bytes=1_000, client_events=True)
    session = PusherSession(PUSHER, decode_name, "1.2", limits, PusherTiming(), now=0.0)
    now, closes = 0.0, 0
    for kind, data, pause in steps:
        now += pause
        inputs: dict[str, Callable[[], list[Any]]] = {
            "text": lambda: session.receive(data.decode(errors="replace"), now),  # noqa: B023
            "bytes": lambda: session.receive(data, now),  # noqa: B023
            "frame": lambda: session.receive_frame(now),  # noqa: B023
            "oversized": session.reject_oversized,
            "tick": lambda: session.tick(now),  # noqa: B023
        }
        commands = inputs[kind]()
        assert not (closes and commands)
        for command in commands:
            closes += isinstance(command, Close)
            if isinstance(command, SignIn):
                session.accept_user(command.user, command.user_data)
            elif isinstance(command, PusherSubscribe):
                assert (command.member is not None) == command.name.startswith("presence-")
                check_pusher_member(command.member)
                session.accept_subscription(command.name, {})
        assert closes <= 1
        assert len(session.names) <= limits.channels


def check_pusher_member(fields: dict[str, Any] | None) -> None:
    """A signed member is refused, or is one that other clients can be sent."""
    if fields is None:
        return
    try:
        member = read_member(fields)
    except ValueError:
        return
    assert member.user
    assert encode_change("presence-a", PresenceChange("joined", member))
    assert describe_members(MemberList(), member)["presence"]["count"] == 1


def check_pusher_calls(body: bytes) -> None:
    """A body is read, or refused with a status; data that is accepted stays the same value."""
    refusals: set[int] = set()
    for read in (read_event, read_batch):
        try:
            triggers = read(body, CallLimits(), decode_name)
        except CallError as error:
            refusals.add(error.status)
            continue
        for trigger in triggers:
            assert to_body(to_text(to_body(trigger.data))) == to_body(trigger.data)
    assert refusals <= {400, 413}


TEXTS = st.text(max_size=30)

TARGETS: dict[str, tuple[st.SearchStrategy[Any], Callable[[], AbstractContextManager[Check]]]] = {
    "frames": (STREAMS, partial(_without_state, check_frames)),
    "session": (STEPS, partial(_without_state, check_session)),
    "pusher-session": (PUSHER_STEPS, partial(_without_state, check_pusher_session)),
    "pusher-calls": (PUSHER_CALLS, partial(_without_state, check_pusher_calls)),
    "poll": (st.tuples(BODIES, HEADERS, TEXTS), polls),
    "publish": (st.tuples(CALLS, HEADERS, TEXTS), calls),
    "pusher": (
        st.tuples(FORMS, mutated(FORMS.map(encoded)), HEADERS),
        partial(provider_authorizations, "pusher"),
    ),
    "ably": (
        st.tuples(FORMS, mutated(FORMS.map(encoded)), HEADERS),
        partial(provider_authorizations, "ably"),
    ),
    "http": (http.CASES, http.http),
}
"""Strategy of the inputs of each target, and its check."""
