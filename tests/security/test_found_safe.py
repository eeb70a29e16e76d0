"""Tests of attacks that were tried without success; README.md names the others."""

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model.channel import ChannelPattern, check_channel
from realtime_bridge.model.position import Position
from realtime_bridge.model.text import is_printable
from realtime_bridge.protocol.wire.close_codes import CloseCode
from realtime_bridge.server.http.origins import Origins
from tests.security.requests import ask, get
from tests.server.harness import SECRET, Serve, Site, make_bridge


def part(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    usual = {"iss": "realtime", "aud": "realtime", "sub": "42", "iat": now, "exp": now + 600}
    return {name: value for name, value in {**usual, **changes}.items() if value is not ...}


def signed(body: object, header: object = None, *, key: str = SECRET, by: str = "sha256") -> str:
    """Return a token that is signed by HMAC, whatever its header has as the algorithm."""
    text = f"{part(header or {'alg': 'HS256', 'typ': 'JWT'})}.{part(body)}"
    digest = hmac.digest(key.encode(), text.encode(), by)
    return f"{text}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def unsigned(algorithm: object) -> str:
    return f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(claims())}."


def edited(change: Callable[[str], str]) -> Callable[[], str]:
    return lambda: change(signed(claims()))


def with_header(**fields: Any) -> Callable[[], str]:
    return lambda: signed(claims(), {"alg": "HS256", "typ": "JWT", **fields}, key="another" * 8)


FORGERIES: dict[str, Callable[[], str]] = {
    **{f"alg {name}": lambda name=name: unsigned(name) for name in  # type: ignore[misc]
       ("none", "None", "NONE", "nOnE", "", None, 0, ["HS256"], "HS256", "RS256", "ES256")},
    **{f"signed as {name}": lambda name=name, by=by: signed(claims(), {"alg": name}, by=by)  # type: ignore[misc]
       for name, by in (("HS384", "sha384"), ("HS512", "sha512"), ("RS256", "sha256"),
                        ("PS256", "sha256"), ("none", "sha256"), ("hs256", "sha256"))},
    "no alg": lambda: signed(claims(), {"typ": "JWT"}),
    "other secret": lambda: signed(claims(), key="x" * 32),
    "empty secret": lambda: signed(claims(), key=""),
    "kid of a path": with_header(kid="/dev/null"),
    "kid of SQL": with_header(kid="' UNION SELECT 'key'--"),
    "key by jku": with_header(jku="https://evil.example/keys"),
    "key in the header": with_header(jwk={"kty": "oct", "k": part(b"another" * 8)}),
    "certificate": with_header(x5u="https://evil.example/cert", x5c=["MIIB"]),
    "critical header": lambda: signed(claims(), {"alg": "HS256", "crit": ["x"], "x": 1}),
    "detached payload": lambda: signed(claims(), {"alg": "HS256", "b64": False, "crit": ["b64"]}),
    "no signature": edited(lambda token: token.rpartition(".")[0] + "."),
    "no third part": edited(lambda token: token.rpartition(".")[0]),
    "shorter signature": edited(lambda token: token[:-4]),
    "longer signature": edited(lambda token: token + "AAAA"),
    "four parts": edited(lambda token: token + ".x"),
    "space inside": edited(lambda token: token.replace(".", " .", 1)),
    "newline inside": edited(lambda token: token.replace(".", ".\n", 1)),
    "other user": edited(lambda token: ".".join(
        (token.split(".")[0], part(claims(sub="admin")), token.split(".")[2]))),
    "other channels": edited(lambda token: ".".join(
        (token.split(".")[0], part(claims(channels=["*"])), token.split(".")[2]))),
    "JSON serialization": lambda: json.dumps({"payload": part(claims()), "signatures": []}),
    "payload no object": lambda: signed([claims()]),
    "payload null": lambda: signed(None),
    "payload no JSON": lambda: signed(b"{"),
    "payload deep": lambda: signed(b"[" * 1_200),
    **{f"{name} {value!r}": lambda name=name, value=value: signed(claims(**{name: value}))  # type: ignore[misc]
       for name, value in (
           ("exp", ...), ("exp", 0), ("exp", -1), ("exp", "soon"), ("exp", None), ("exp", []),
           ("sub", ...), ("sub", None), ("sub", 42), ("sub", ["42"]), ("sub", {"a": 1}),
           ("iss", ...), ("iss", "other"), ("iss", ["other"]), ("iss", None),
           ("aud", ...), ("aud", "other"), ("aud", ["other"]), ("aud", None),
           ("nbf", 2**40), ("iat", 2**40), ("iat", "soon"), ("channels", "*"),
           ("channels", {"*": 1}), ("channels", [["*"]]))},
}  # fmt: skip


def test_forgeries_are_many() -> None:
    assert len(FORGERIES) >= 56


async def test_forged_token_is_refused_on_each_transport(site: Site) -> None:
    for name, forge in FORGERIES.items():
        token = forge()
        if token.isprintable():
            bearer = f"Bearer {token}"
            for route, body in (("connect", b"{}"), ("poll", b'{"positions":{}}')):
                status, answer = await site.post(route, body, authorization=bearer)
                assert status == 401, name
                assert "retry" not in answer, name
            latest = get("/realtime/latest?channel=user-42", f"authorization: {bearer}")
            assert (await ask(site.origin, latest)).status == 401, name
    # One socket for each, a few at a time.
    for name, forge in FORGERIES.items():
        client = await site.open()
        await client.send("connect", token=forge(), nonce="n", version=1)
        assert (await client.failed())[0] == CloseCode.TOKEN, name
        await client.socket.close()


ODD_JSON = [
    b"[" * 100_000,
    b'{"positions":' + b'{"a":' * 50_000,
    b"[]", b"1", b'"x"', b"null", b"", b"\xff", b"{", b'{"positions"', b"\xef\xbb\xbf{}",
    b'{"positions":{"job.1":{"epoch":"aaaaaaaa","offset":1e400}}}',
    b'{"positions":{"job.1":{"epoch":"aaaaaaaa","offset":NaN}}}',
    b'{"positions":{"job.1":{"epoch":"aaaaaaaa","offset":99999999999999999999999}}}',
    b'{"positions":{"job.1":{"epoch":"aaaaaaaa","offset":-1}}}',
    b'{"positions":{"job.1":{"epoch":"aaaaaaaa","offset":true}}}',
    b'{"positions":{"\\ud800":null}}',
    b'{"positions":{"__proto__":null,"constructor":{"prototype":1}}}',
    b'{"positions":[["job.1",null]]}',
    b'{"positions":{},"wait":1e400}',
    b'{"positions":{},"wait":"20"}',
    b'{"positions":{},"positions":{"job.1":0}}',
]  # fmt: skip


@pytest.mark.parametrize("body", ODD_JSON, ids=lambda body: repr(body[:60]))
async def test_odd_json_is_an_error_of_the_client(site: Site, body: bytes) -> None:
    bearer = f"Bearer {site.token()}"
    for route in ("poll", "connect", "sse"):
        sent = {"content-type": "application/json", "authorization": bearer}
        posted = site.http.post(f"{site.url}/{route}", data=body, headers=sent)
        async with posted as response:
            assert response.status in (200, 400), route
    status, answer = await site.publish(body)
    assert (status, answer["error"]["code"]) == (400, "invalid_event")
    client = await site.connect()
    await client.socket.send(body.decode(errors="replace"))
    assert (await client.failed())[0] == CloseCode.PROTOCOL


ESCAPES = [
    "job.1\n", "job.1\r", "job.1\0", " job.1", "job.1 ", "job.1/..", "job.*", "job.?", "job.[1]",
    "job.1:x", "{job.1}", "job.1}", "*", "", "private-job.1", "presence-job.1", "JOB.1",
    "j\u043eb.1", "job.1%00", "job.1\u200b", "../job.1", "realtime:job.1", "'; DROP TABLE x--",
    "job.1\\",
]  # fmt: skip


@pytest.mark.parametrize("channel", ESCAPES)
async def test_channel_that_escapes_its_rule_is_denied(serve: Serve, channel: str) -> None:
    bridge = make_bridge()
    asked: list[str] = []

    def rule(user: str, job: str) -> bool:
        asked.append(job)
        return job == "1"

    bridge.channel("job.{job}")(rule)
    site = await serve(bridge)
    client = await site.connect("42", "none")
    await client.send("subscribe", channel=channel, position=None)
    assert (await client.expect("refused"))["code"] in (400, 403)
    status, answer = await site.poll({channel: None}, channels=["none"])
    part_of_answer = answer.get("channels", {}).get(channel, {})
    assert (
        status in (400, 403)
        or part_of_answer.get("reset") == "forbidden"
        or ("error" in part_of_answer)
    )
    assert not asked


@pytest.mark.parametrize(
    "path",
    [
        "client-..%2f..%2fsettings.py", "client.js/../../settings.py", "..%2fsettings.py",
        "client.js%00.py", "client-x.js", "static/client.js", "client.js.map", "%2e%2e/settings.py",
        "..\\settings.py", "client-../client.js",
    ],
)  # fmt: skip
async def test_static_files_are_the_bundles_alone(site: Site, path: str) -> None:
    answer = await ask(site.origin, get(f"/realtime/{path}"))
    assert answer.status in (400, 404)
    assert b"import" not in answer.body


@pytest.mark.timed
@pytest.mark.parametrize("text", ["a" * 60_000, "a." * 30_000, "." * 60_000, "a" * 60_000 + "\n"])
def test_patterns_take_linear_time(text: str) -> None:
    patterns = [ChannelPattern("a.{a}.b.{b}.c"), ChannelPattern("{a}.{b}"), ChannelPattern("{a}")]
    start = time.process_time()
    for pattern in patterns:
        pattern.match(text)
    for check in (check_channel, Position.parse):
        with pytest.raises((InvalidEventError, ValueError)):
            check(text)
    is_printable(text)
    Origins([]).allows(f"https://{text}", text)
    assert time.process_time() - start < 1.0


async def test_answers_to_strangers_hold_no_secret_and_no_path(site: Site) -> None:
    leaks = re.compile(rb"Traceback|/site-packages/|\.py\b|" + SECRET.encode())
    for path in ("health", "metrics", "nothing", "connect", "latest", "sse", "publish", "ws"):
        for method in ("GET", "POST", "PUT", "DELETE", "TRACE", "OPTIONS", "PATCH"):
            request = get(f"/realtime/{path}", "content-length: 0", method=method)
            answer = await ask(site.origin, request)
            assert answer.status < 500, (method, path)
            assert not leaks.search(answer.body)


def test_digest_of_a_token_is_that_of_the_specification() -> None:
    """Proof that the forgeries above differ from a valid token in their fault alone."""
    header, body, signature = signed(claims()).split(".")
    digest = hmac.new(SECRET.encode(), f"{header}.{body}".encode(), hashlib.sha256).digest()
    assert signature == part(digest)
    assert orjson.loads(base64.urlsafe_b64decode(body + "=="))["sub"] == "42"
