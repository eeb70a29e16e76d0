"""Session of Pusher's protocol: frames of clients, and what the server does."""

import json
from collections.abc import Iterable
from typing import Any

import pytest

from realtime_bridge.protocol.pusher.names import decode_name
from realtime_bridge.protocol.pusher.session import PusherSession, encode_denial, rejection
from realtime_bridge.protocol.pusher.session_commands import (
    Command,
    Deny,
    Publish,
    PusherLimits,
    PusherTiming,
    SignIn,
    Subscribe,
    Unsubscribe,
)
from realtime_bridge.protocol.pusher.signatures import PusherApp, channel_text, user_text
from realtime_bridge.protocol.session.session_commands import Close, Send

APP = PusherApp("1", "key", "secret")
SOCKET = "1.2"
USER = '{"id":"42"}'
MEMBER = '{"user_id":"42"}'


def opened(**limits: Any) -> PusherSession:
    chosen = PusherLimits(**{"channels": 3, "client_events": True, **limits})
    return PusherSession(APP, check_name, SOCKET, chosen, PusherTiming(), now=0.0)


def check_name(name: str) -> None:
    if name == "odd":
        raise ValueError("odd name")
    decode_name(name)


def frame(event: str, data: object = None, **fields: object) -> str:
    return json.dumps({"event": event, "data": data, **fields})


def signed(name: str, member: str | None = None, socket: str = SOCKET) -> dict[str, str]:
    auth = APP.sign_for_client(channel_text(socket, name, member))
    return {"channel": name, "auth": auth} | ({"channel_data": member} if member else {})


def subscribing(data: object) -> str:
    return frame("pusher:subscribe", data)


def signing_in(user_data: str = USER, socket: str = SOCKET) -> str:
    auth = APP.sign_for_client(user_text(socket, user_data))
    return frame("pusher:signin", {"auth": auth, "user_data": user_data})


def shown(commands: Iterable[Command]) -> list[Any]:
    """Return commands in a short form: frames as their event and data, closes as their code."""
    return [_short(command) for command in commands]


def _short(command: Command) -> Any:
    if isinstance(command, Send):
        fields = json.loads(command.message)
        return fields["event"], json.loads(fields.get("data", "null"))
    return command.code if isinstance(command, Close) else command


def code_of(commands: Iterable[Command]) -> int:
    """Return the code of a close, which the frame of an error precedes."""
    (event, error), code = shown(commands)
    assert event == "pusher:error"
    assert error["code"] == code
    return int(code)


def test_client_is_greeted() -> None:
    established = {"socket_id": SOCKET, "activity_timeout": 30}
    assert shown(opened().open()) == [("pusher:connection_established", established)]


@pytest.mark.parametrize(
    ("key", "protocol", "code"),
    [
        ("key", "7", None), ("key", "5", None), ("other", "7", 4001), ("key", None, 4008),
        ("key", "4", 4007), ("key", "8", 4007), ("k" * 500, "7", 4001), ("key", "9" * 500, 4007),
        ("\U0001f600" * 40, "7", 4001), ("key", "\U0001f600" * 40, 4007),
    ],
)  # fmt: skip
def test_client_of_another_app_or_protocol_is_rejected(
    key: str, protocol: str | None, code: int | None
) -> None:
    close = rejection(APP, key, protocol)
    assert (close and close.code) == code
    assert close is None or len(close.reason.encode()) <= 123


def deny(name: str, kind: str, message: str, status: int) -> Deny:
    return Deny(name, kind, message, status)


BAD_AUTH = "The auth signature is wrong"


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        ({"channel": "news"}, Subscribe("news")),
        ({"channel": "news", "auth": ""}, Subscribe("news")),
        (signed("private-a"), Subscribe("private-a")),
        (signed("private-a", MEMBER), Subscribe("private-a")),
        (signed("private-encrypted-a"), Subscribe("private-encrypted-a")),
        (signed("presence-a", MEMBER), Subscribe("presence-a", {"user_id": "42"})),
        ({"channel": "private-a"}, deny("private-a", "AuthError", BAD_AUTH, 401)),
        (signed("private-a", socket="1.3"), deny("private-a", "AuthError", BAD_AUTH, 401)),
        (
            {**signed("private-b"), "channel": "private-a"},
            deny("private-a", "AuthError", BAD_AUTH, 401),
        ),
        (signed("presence-a"), deny("presence-a", "AuthError", BAD_AUTH, 401)),
        (
            signed("presence-a", "{}"),
            deny("presence-a", "AuthError", "channel_data has no user_id", 401),
        ),
        (
            signed("presence-a", "no"),
            deny("presence-a", "AuthError", "channel_data has no user_id", 401),
        ),
        (
            signed("presence-a", "[1]"),
            deny("presence-a", "AuthError", "channel_data has no user_id", 401),
        ),
        ({"channel": "odd"}, deny("odd", "LimitReached", "odd name", 4009)),
        (
            {"channel": "#server-to-user-42"},
            deny("#server-to-user-42", "AuthError", BAD_AUTH, 401),
        ),
    ],
)
def test_subscription_needs_its_signature(data: dict[str, str], answer: Command) -> None:
    assert opened().receive(subscribing(data), 1.0) == [answer]


def test_refused_name_has_the_reason_and_a_code() -> None:
    (denial,) = opened().receive(subscribing({"channel": "private-public.x"}), 1.0)
    assert isinstance(denial, Deny)
    assert (denial.kind, denial.status) == ("LimitReached", 4009)
    assert json.loads(encode_denial(denial)) == {
        "event": "pusher:subscription_error",
        "channel": "private-public.x",
        "data": json.dumps(
            {"type": "LimitReached", "error": denial.message, "status": 4009}, separators=(",", ":")
        ),
    }


def test_channels_of_one_connection_are_limited() -> None:
    session = opened()
    for name in "abc":
        session.receive(subscribing({"channel": name}), 1.0)
    (denial,) = session.receive(subscribing({"channel": "d"}), 1.0)
    assert isinstance(denial, Deny)
    assert "Over 3 channels" in denial.message
    assert session.receive(subscribing({"channel": "a"}), 1.0) == [Subscribe("a")]
    assert session.receive(frame("pusher:unsubscribe", {"channel": "a"}), 1.0) == [Unsubscribe("a")]
    assert session.receive(subscribing({"channel": "d"}), 1.0) == [Subscribe("d")]
    assert list(session.names) == ["b", "c", "d"]


def test_subscription_is_confirmed_unless_it_ended() -> None:
    session = opened()
    session.receive(subscribing({"channel": "a"}), 1.0)
    assert shown(session.accept_subscription("a", {})) == [
        ("pusher_internal:subscription_succeeded", {})
    ]
    assert session.deny("a", "ServerError", "The log is down", 500, 2.0) == [
        Deny("a", "ServerError", "The log is down", 500)
    ]
    assert session.accept_subscription("a", {}) == []
    session.close(4200, "")
    assert session.deny("a", "ServerError", "", 500, 2.0) == []


@pytest.mark.parametrize("channel", [None, 7, "unknown", ["a"]])
def test_unsubscribing_from_no_channel_does_nothing(channel: object) -> None:
    assert opened().receive(frame("pusher:unsubscribe", {"channel": channel}), 1.0) == []


def test_signed_in_user_may_subscribe_to_its_own_channel_alone() -> None:
    session = opened()
    assert session.receive(signing_in(), 1.0) == [SignIn("42", USER)]
    assert shown(session.accept_user("42", USER)) == [
        ("pusher:signin_success", {"user_data": USER})
    ]
    own = {"channel": "#server-to-user-42", "auth": ""}
    assert session.receive(subscribing(own), 1.0) == [Subscribe("#server-to-user-42")]
    (denial,) = session.receive(subscribing({"channel": "#server-to-user-7"}), 1.0)
    assert isinstance(denial, Deny)
    assert session.receive(signing_in(), 1.0) == [SignIn("42", USER)]
    assert code_of(session.receive(signing_in('{"id":"7"}'), 1.0)) == 4009


@pytest.mark.parametrize(
    "sent",
    [
        signing_in(socket="1.3"),
        signing_in("{}"),
        signing_in("no"),
        signing_in('{"id":["a"]}'),
        frame("pusher:signin", {"auth": "x"}),
        frame("pusher:signin"),
    ],
)
def test_wrong_sign_in_ends_the_connection(sent: str) -> None:
    assert code_of(opened().receive(sent, 1.0)) == 4009


def test_ping_is_answered_and_pong_is_not() -> None:
    session = opened()
    assert shown(session.receive(frame("pusher:ping", {}), 1.0)) == [("pusher:pong", {})]
    assert session.receive(frame("pusher:pong", {}), 1.0) == []


@pytest.mark.parametrize("event", ["pusher:other", "", "event", "pusher_internal:x"])
def test_unknown_event_is_an_error_and_no_end(event: str) -> None:
    session = opened()
    ((name, error),) = shown(session.receive(frame(event), 1.0))
    assert (name, error["code"]) == ("pusher:error", 4010)
    assert session.receive(frame("pusher:pong"), 1.0) == []


def test_subscription_without_a_name_is_an_error() -> None:
    samples: list[object] = [{}, None, [], "x", {"channel": 7}]
    for data in samples:
        ((name, error),) = shown(opened().receive(subscribing(data), 1.0))
        assert (name, error["code"]) == ("pusher:error", 4010)


@pytest.mark.parametrize(
    "sent",
    [
        b"bytes",
        "",
        "{",
        "[]",
        "7",
        '{"data":1}',
        '{"event":7}',
        '{"event":"e","channel":7}',
        '{"event":"e","data":"\\ud800"}',
        '{"event":"\ud800"}',
        '{"event":"e","data":' + "[" * 2_000 + "]" * 2_000 + "}",
        frame("e", "x" * 65_536),
        frame("e", "é" * 40_000),
    ],
)
def test_malformed_frame_ends_the_connection(sent: str | bytes) -> None:
    session = opened()
    assert code_of(session.receive(sent, 1.0)) == 4010
    assert session.receive(frame("pusher:ping"), 1.0) == []
    assert session.receive_frame(1.0) == []
    assert session.reject_oversized() == []
    assert session.close(4200, "") == []
    assert session.tick(100.0) == []
    assert session.next_wakeup == float("inf")


def test_frames_are_limited_beside_a_subscription_per_channel() -> None:
    session = opened(frames_per_second=5.0)
    sent = [session.receive(frame("pusher:ping"), 0.0) for _ in range(13)]
    assert all(shown(commands) == [("pusher:pong", {})] for commands in sent)
    assert shown(session.receive(frame("pusher:ping"), 1.0)) == [("pusher:pong", {})]
    codes = [session.receive(frame("pusher:ping"), 1.0) for _ in range(5)]
    assert code_of(codes[-1]) == 4100


def test_client_event_goes_to_a_subscribed_private_channel() -> None:
    session = opened()
    sent = '{"event":"client-typing","channel":"private-a","data":{"n":1.0}}'
    ((_, error),) = shown(session.receive(sent, 1.0))
    assert error["code"] == 4301
    session.receive(subscribing(signed("private-a")), 1.0)
    assert session.receive(sent, 1.0) == [Publish("private-a", "client-typing", b'{"n":1.0}')]
    without = frame("client-x", channel="private-a")
    assert session.receive(without, 1.0) == [Publish("private-a", "client-x", b"null")]


@pytest.mark.parametrize("name", ["news", "private-encrypted-a"])
def test_client_event_of_another_kind_of_channel_is_refused(name: str) -> None:
    session = opened()
    session.receive(subscribing(signed(name)), 1.0)
    ((_, error),) = shown(session.receive(frame("client-x", {}, channel=name), 1.0))
    assert error["code"] == 4301


def test_client_events_are_limited_or_off() -> None:
    session = opened(client_events_per_second=2)
    session.receive(subscribing(signed("private-a")), 1.0)
    sent = frame("client-x", {}, channel="private-a")
    answers = [session.receive(sent, at) for at in (1.0, 1.5, 1.9, 2.0)]
    assert [isinstance(answer[0], Publish) for answer in answers] == [True, True, False, True]
    off = opened(client_events=False)
    off.receive(subscribing(signed("private-a")), 1.0)
    ((_, error),) = shown(off.receive(sent, 1.0))
    assert error["code"] == 4301
    assert "off" in error["message"]


def test_silent_client_is_pinged_and_then_closed() -> None:
    session = opened()
    session.receive(subscribing({"channel": "a"}), 0.0)
    assert session.next_wakeup == 30.0
    assert session.tick(29.0) == []
    assert shown(session.tick(30.0)) == [("pusher:ping", {})]
    assert session.next_wakeup == 60.0
    assert session.tick(59.0) == []
    assert code_of(session.tick(60.0)) == 4201


def test_any_frame_is_an_answer_to_the_ping() -> None:
    session = opened()
    session.receive(subscribing({"channel": "a"}), 0.0)
    session.tick(30.0)
    session.receive_frame(31.0)
    assert session.next_wakeup == 61.0
    assert session.tick(60.0) == []


def test_client_that_subscribes_to_nothing_is_closed() -> None:
    session = opened()
    session.tick(30.0)
    session.receive(frame("pusher:pong"), 30.5)
    assert session.next_wakeup == 60.0
    assert code_of(session.tick(60.0)) == 4202


def test_client_that_left_its_last_channel_is_closed_later() -> None:
    session = opened()
    session.receive(subscribing({"channel": "a"}), 1.0)
    session.receive(frame("pusher:unsubscribe", {"channel": "a"}), 50.0)
    assert session.tick(60.0) == []
    assert session.next_wakeup == 80.0
    session.receive(frame("pusher:pong"), 100.0)
    assert code_of(session.tick(110.0)) == 4202


def test_signed_in_client_needs_no_channel() -> None:
    session = opened()
    session.receive(signing_in(), 1.0)
    session.accept_user("42", USER)
    session.receive(subscribing({"channel": "a"}), 50.0)
    session.receive(frame("pusher:unsubscribe", {"channel": "a"}), 59.0)
    assert session.tick(80.0) == []
    assert session.next_wakeup == 89.0
