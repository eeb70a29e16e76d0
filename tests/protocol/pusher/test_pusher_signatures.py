"""Signatures of calls, subscriptions and sign-ins, with the examples of Pusher's documentation."""

import hashlib

import pytest

from realtime_bridge.protocol.pusher.call_error import CallError
from realtime_bridge.protocol.pusher.signatures import PusherApp, channel_text, user_text

APP = PusherApp("3", "278d425bdf160c739803", "7ad3773142a6692b25b8")
"""Key and secret of the examples in Pusher's documentation."""

SOCKET = "1234.1234"
NOW = 1353088179.0
BODY = b'{"name":"foo","channels":["project-3"],"data":"{\\"some\\":\\"data\\"}"}'
QUERY = {
    "auth_key": APP.key,
    "auth_timestamp": "1353088179",
    "auth_version": "1.0",
    "body_md5": "ec365a775a4cd0599faeb73354201b6f",
    "auth_signature": "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c",
}


def check(
    query: dict[str, str] = QUERY,
    body: bytes = BODY,
    *,
    method: str = "POST",
    paths: tuple[str, ...] = ("/apps/3/events",),
    now: float = NOW,
) -> None:
    APP.check_call(method, paths, query, body, now=now)


def test_call_of_the_documentation_is_accepted() -> None:
    check()
    check(paths=("/apps/3/other", "/apps/3/events"))
    check(now=NOW + 600)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"body": BODY + b" "}, "body_md5"),
        ({"body": BODY[:-1]}, "body_md5"),
        ({"method": "PUT"}, "Invalid signature"),
        ({"paths": ("/apps/4/events",)}, "Invalid signature"),
        ({"paths": ()}, "Invalid signature"),
        ({"now": NOW + 601}, "Timestamp expired"),
        ({"now": NOW - 601}, "Timestamp expired"),
        ({"query": QUERY | {"auth_key": "other"}}, "Unknown auth_key"),
        ({"query": QUERY | {"auth_key": "é"}}, "Unknown auth_key"),
        ({"query": QUERY | {"auth_timestamp": "soon"}}, "not a Unix time"),
        ({"query": QUERY | {"auth_timestamp": "nan"}}, "Timestamp expired"),
        ({"query": QUERY | {"more": "1"}}, "Invalid signature"),
        ({"query": QUERY | {"auth_signature": "é"}}, "Invalid signature"),
        ({"query": {**QUERY, "auth_signature": ""}}, "Invalid signature"),
        ({"query": {k: v for k, v in QUERY.items() if k != "auth_signature"}}, "is missing"),
        ({"query": {}}, "Unknown auth_key"),
    ],
)
def test_changed_call_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(CallError, match=message) as caught:
        check(**changes)  # type: ignore[arg-type]
    assert (caught.value.status, caught.value.text) == (401, str(caught.value))


def test_hash_of_an_empty_body_is_signed_by_the_sdk_of_python() -> None:
    query = {name: QUERY[name] for name in ("auth_key", "auth_timestamp", "auth_version")}
    query["body_md5"] = hashlib.md5(b"").hexdigest()
    signed = "&".join(f"{name}={query[name]}" for name in sorted(query))
    query["auth_signature"] = APP.sign(f"GET\n/apps/3/channels\n{signed}")
    check(query, b"", method="GET", paths=("/apps/3/channels",))


def test_subscriptions_and_sign_ins_of_the_documentation_are_accepted() -> None:
    private = "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"
    presence = "31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80"
    user = "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba"
    member = '{"user_id":10,"user_info":{"name":"Mr. Channels"}}'
    for signature, text in (
        (private, channel_text(SOCKET, "private-foobar")),
        (presence, channel_text(SOCKET, "presence-foobar", member)),
        (user, user_text(SOCKET, '{"id":"12345"}')),
    ):
        assert APP.sign_for_client(text) == f"{APP.key}:{signature}"
        assert APP.accepts(f"{APP.key}:{signature}", text)


@pytest.mark.parametrize("auth", [None, 7, "", "é", "\ud800", "k:s", "278d425bdf160c739803:"])
def test_other_signature_is_refused(auth: object) -> None:
    assert not APP.accepts(auth, channel_text(SOCKET, "private-foobar"))


def test_credentials_show_no_secret() -> None:
    assert repr(APP) == "PusherApp('3')"
