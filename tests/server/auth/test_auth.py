"""Tests of tokens, signatures, origins and `authenticate`, with forgeries of each."""

import base64
import time
from collections.abc import Callable
from typing import Any

import jwt
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_bridge.protocol.wire.rpc import sign
from realtime_bridge.server import Principal
from realtime_bridge.server.auth.signatures import SignatureError, Signatures
from realtime_bridge.server.auth.token_error import TokenError
from realtime_bridge.server.auth.tokens import MAX_REPEATED, SKEW_SECONDS, Tokens, verify_hs256
from realtime_bridge.server.http.request import Request
from tests.server.harness import SECRET, Serve, Site, make_bridge

TOKENS = Tokens(SECRET, issuer="realtime")


OLD, NEW = "o" * 32, "n" * 32
"""Secrets of a rotation."""

CLAIMS_OF_42 = {"iss": "realtime", "aud": "realtime", "sub": "42", "exp": 4_000_000_000}


def forged_token(**claims: Any) -> str:
    """Return a token with these claims instead of the valid ones."""
    good = {"iss": "realtime", "aud": "realtime", "sub": "42", "exp": time.time() + 600}
    return jwt.encode({name: c for name, c in (good | claims).items() if c is not None}, SECRET)


def base64url(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


CLAIMS = st.fixed_dictionaries(
    {},
    optional={
        "iss": st.sampled_from(["realtime", "other", ["realtime"], 1]),
        "aud": st.sampled_from(["realtime", "other", ["realtime"], ["other"], None]),
        "sub": st.sampled_from(["42", "", 42, None]),
        "exp": st.sampled_from([-100, -10, 0, 600, 0.5, "600", True, None]),
        "iat": st.sampled_from([-1.5, -600, 600, 10, "0", None]),
        "nbf": st.sampled_from([-600, 600]),
        "crit": st.just(["exp"]),
    },
)
HEADERS = st.sampled_from([None, {"kid": "1"}, {"typ": "jwt"}, {"crit": ["b64"], "b64": False}])


@given(claims=CLAIMS, headers=HEADERS, secret=st.sampled_from([SECRET, "x" * 32]))
def test_fast_verification_agrees_with_pyjwt(claims: Any, headers: Any, secret: str) -> None:
    now = time.time()
    for name in claims.keys() & {"exp", "iat", "nbf"}:
        if type(claims[name]) in (int, float):
            claims[name] = type(claims[name])(claims[name] + now)
    good = {"iss": "realtime", "aud": "realtime", "sub": "42", "exp": int(now + 60), "iat": now}
    payload = {name: claim for name, claim in (good | claims).items() if claim is not None}
    token = jwt.api_jws.encode(orjson.dumps(payload), secret, headers=headers)
    verified = verify_hs256(
        token, [b"y" * 32, SECRET.encode()], audience="realtime", issuer="realtime", now=time.time()
    )
    assert verified is None or verified == TOKENS.decode(token)
    if not claims and not headers and secret == SECRET:
        assert verified == payload


class TestTokens:
    def test_verified_token_gives_user_client_and_expiry(self) -> None:
        principal = TOKENS.verify(TOKENS.issue("42", client="c_8f", seconds=60))
        assert (principal.user, principal.client, principal.channels) == ("42", "c_8f", None)
        assert 58 < principal.expires - time.time() <= 60

    def test_token_with_channels_grants_them(self) -> None:
        principal = TOKENS.verify(TOKENS.issue("42", channels=["job.*"]))
        assert principal.channels == ("job.*",)

    def test_token_without_client_gets_a_new_client_id(self) -> None:
        clients = {TOKENS.verify(forged_token()).client for _ in range(2)}
        assert len(clients) == 2

    def test_repeated_token_without_client_gets_a_new_client_id(self) -> None:
        token = forged_token()
        assert TOKENS.verify_repeated(token).client != TOKENS.verify_repeated(token).client

    def test_repeated_token_is_verified_once_until_it_expires(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tokens = Tokens(SECRET, issuer="realtime")
        token = tokens.issue("42", client="c_8f", seconds=60)
        assert tokens.verify_repeated(token) is tokens.verify_repeated(token)
        known, late = tokens.verify_repeated(token), time.time() + 61
        monkeypatch.setattr(time, "time", lambda: late)
        assert tokens.verify_repeated(token) is not known

    def test_only_the_latest_repeated_tokens_are_stored(self) -> None:
        tokens = Tokens(SECRET, issuer="realtime")
        issued = [tokens.issue(str(number)) for number in range(MAX_REPEATED + 1)]
        verified = [tokens.verify_repeated(token) for token in issued]
        assert tokens.verify_repeated(issued[1]) is verified[1]
        assert tokens.verify_repeated(issued[0]) is not verified[0]

    def test_long_token_is_not_stored(self) -> None:
        token = TOKENS.issue("42", channels=["job." + "x" * 120] * 10)
        assert TOKENS.verify_repeated(token) is not TOKENS.verify_repeated(token)

    @pytest.mark.parametrize(
        ("token", "wrong"),
        [
            (lambda: TOKENS.issue("42", seconds=-SKEW_SECONDS - 5), "has expired"),
            (lambda: Tokens("x" * 32, issuer="realtime").issue("42"), "not signed with this"),
            (lambda: Tokens(SECRET, issuer="other").issue("42"), "of another application"),
            (lambda: forged_token(aud="other"), "for another audience"),
            (lambda: forged_token(aud=None), "audience|malformed"),
            (lambda: forged_token(exp=None), "malformed"),
            (lambda: forged_token(exp="soon"), "malformed"),
            (lambda: forged_token(sub=None), "malformed"),
            (lambda: forged_token(nbf=time.time() + 600), "after this server's time"),
            (lambda: forged_token(channels="job.*"), "not a list of patterns"),
            (lambda: forged_token(channels=[7]), "not a list of patterns"),
            (lambda: "", "malformed"),
            (lambda: "a.b.c", "malformed"),
            (lambda: "é.é.é", "malformed"),
            (lambda: TOKENS.issue("42")[:-2], "signed|malformed"),
            (lambda: jwt.encode({"sub": "42"}, "", algorithm="none"), "malformed"),
            (lambda: base64url(b"[" * 9_000) + ".e30.x", "malformed"),
            (lambda: f"{base64url(b'null')}.e30.x", "malformed"),
        ],
    )
    def test_invalid_token_is_rejected_and_not_in_the_message(
        self, token: Callable[[], str], wrong: str
    ) -> None:
        text = token()
        with pytest.raises(TokenError, match=wrong) as caught:
            TOKENS.verify(text)
        assert not text or text not in str(caught.value)

    @pytest.mark.parametrize("signer", [OLD, NEW, f"{NEW},{OLD}", f"{OLD}, {NEW}"])
    def test_rotation_accepts_tokens_of_both_secrets(self, signer: str) -> None:
        for verifier in (f"{NEW},{OLD}", f"{OLD},{NEW}"):
            tokens = Tokens(verifier, issuer="realtime")
            assert tokens.verify(Tokens(signer, issuer="realtime").issue("42")).user == "42"
            without_iat = jwt.encode(CLAIMS_OF_42, signer.partition(",")[0])
            assert tokens.verify(without_iat).user == "42"

    def test_first_secret_signs(self) -> None:
        token = Tokens(f"{NEW},{OLD}", issuer="realtime").issue("42")
        assert Tokens(NEW, issuer="realtime").verify(token).user == "42"
        with pytest.raises(TokenError, match="not signed with this"):
            Tokens(OLD, issuer="realtime").verify(token)

    @pytest.mark.parametrize(
        ("token", "code"),
        [
            (lambda: TOKENS.issue("42", seconds=-SKEW_SECONDS - 5), "token_expired"),
            (lambda: forged_token(iat=time.time() + 40), "token_not_yet_valid"),
            (lambda: forged_token(nbf=time.time() + 40), "token_not_yet_valid"),
            (lambda: Tokens(NEW, issuer="realtime").issue("42"), "token_unknown_key"),
            (lambda: Tokens(SECRET, issuer="other").issue("42"), "bad_token"),
            (lambda: "nonsense", "bad_token"),
        ],
    )
    def test_refusal_has_its_own_code(self, token: Callable[[], str], code: str) -> None:
        with pytest.raises(TokenError) as caught:
            TOKENS.verify(token())
        assert caught.value.code == code

    @pytest.mark.parametrize("claim", ["iat", "nbf"])
    def test_token_of_a_clock_within_the_skew_is_accepted(self, claim: str) -> None:
        ahead = time.time() + SKEW_SECONDS - 5
        assert TOKENS.verify(forged_token(**{claim: ahead})).user == "42"

    def test_token_of_a_clock_within_the_skew_needs_no_pyjwt(self) -> None:
        token = TOKENS.issue("42")
        now, key = time.time() - SKEW_SECONDS + 5, SECRET.encode()
        assert verify_hs256(token, [key], audience="realtime", issuer="realtime", now=now)

    def test_token_expired_within_clock_skew_is_accepted(self) -> None:
        assert TOKENS.verify(TOKENS.issue("42", seconds=5 - SKEW_SECONDS)).user == "42"

    def test_token_with_another_algorithm_is_rejected(self) -> None:
        claims = {"iss": "realtime", "aud": "realtime", "sub": "42", "exp": time.time() + 60}
        other = jwt.encode(claims, SECRET * 2, algorithm="HS512")
        with pytest.raises(TokenError):
            Tokens(SECRET * 2, issuer="realtime").verify(other)

    @given(st.text(max_size=200) | st.binary(max_size=200).map(base64url))
    def test_arbitrary_text_is_rejected_as_token(self, text: str) -> None:
        with pytest.raises(TokenError):
            TOKENS.verify(text)


def signed_call(
    body: bytes = b"{}", at: str = "1000", secret: str = SECRET
) -> tuple[str, str, bytes]:
    return at, sign(secret, at, body), body


class TestSignatures:
    @pytest.mark.parametrize("at", ["1000", "1000.5", "700", "1300"])
    def test_call_signed_within_five_minutes_is_accepted(self, at: str) -> None:
        Signatures(SECRET).check(*signed_call(at=at), now=1000.0)

    @pytest.mark.parametrize("secret", [OLD, NEW])
    def test_call_signed_with_any_secret_is_accepted(self, secret: str) -> None:
        Signatures(f"{NEW}, {OLD}").check(*signed_call(secret=secret), now=1000.0)

    @pytest.mark.parametrize("at", ["699", "1301", "inf", "-inf", "nan"])
    def test_timestamp_over_five_minutes_away_is_rejected(self, at: str) -> None:
        with pytest.raises(SignatureError, match="clock") as caught:
            Signatures(SECRET).check(*signed_call(at=at), now=1000.0)
        assert caught.value.code == "old_timestamp"

    def test_call_with_wrong_secret_body_or_time_is_rejected(self) -> None:
        timestamp, signature, body = signed_call()
        for forgery in (
            signed_call(secret="x" * 32),
            (timestamp, signature, b"{} "),
            ("1001", signature, body),
            (timestamp, signature[:-1], body),
            (timestamp, "é", body),
        ):
            with pytest.raises(SignatureError, match="REALTIME_SECRET") as caught:
                Signatures(SECRET).check(*forgery, now=1000.0)
            assert caught.value.code == "bad_signature"

    @pytest.mark.parametrize("at", ["now", "2026-11-23", "0x10"])
    def test_timestamp_that_is_no_number_is_rejected(self, at: str) -> None:
        with pytest.raises(SignatureError) as caught:
            Signatures(SECRET).check(*signed_call(at=at), now=1000.0)
        assert caught.value.code == "bad_timestamp"

    def test_repeated_signature_in_any_case_is_rejected(self) -> None:
        signatures = Signatures(SECRET)
        timestamp, signature, _ = signed_call()
        signatures.once(timestamp, signature, now=1000.0)
        for repeated_signature in (signature, signature.upper()):
            with pytest.raises(SignatureError) as caught:
                signatures.once(timestamp, repeated_signature, now=1000.0)
            assert caught.value.code == "replayed"

    def test_expired_signatures_are_not_stored(self) -> None:
        signatures = Signatures(SECRET)
        for second in range(1, 1_001):
            signatures.once(str(second), f"s{second}", now=float(second))
        assert len(signatures) == 301

    def test_above_the_capacity_no_signature_can_be_repeated(self) -> None:
        signatures = Signatures(SECRET, capacity=10)
        calls = [(str(1000 + number / 100), f"s{number}") for number in range(50)]
        for timestamp, signature in calls:
            signatures.once(timestamp, signature, now=1001.0)
        assert len(signatures) == 10
        for timestamp, signature in calls:
            with pytest.raises(SignatureError):
                signatures.once(timestamp, signature, now=1001.0)
        signatures.once("1000.5", "another", now=1001.0)


async def test_authenticate_determines_the_user(serve: Serve) -> None:
    def current_user(request: Request) -> str | None:
        return request.cookies.get("session")

    site = await serve(make_bridge(authenticate=current_user))
    status, descriptor = await site.post("connect", {}, cookie="session=42")
    assert (status, descriptor["user"]) == (200, "42")
    assert (await site.post("connect", {}))[0] == 401


@pytest.mark.parametrize("identity", [None, "", 0, False, {}, [], ()])
async def test_authenticate_without_identity_is_401(serve: Serve, identity: Any) -> None:
    site = await serve(make_bridge(authenticate=lambda _: identity))
    status, answer = await site.post("connect", {})
    assert (status, answer["error"]["code"]) == (401, "not_signed_in")


@pytest.mark.parametrize(("identity", "user"), [(42, "42"), (-1, "-1"), ("ann", "ann")])
async def test_numeric_user_id_becomes_text(serve: Serve, identity: int | str, user: str) -> None:
    async def current_user(_: Request) -> int | str:
        return identity

    site = await serve(make_bridge(authenticate=current_user))
    assert (await site.post("connect", {}))[1]["user"] == user


async def test_principal_without_client_gets_a_new_client_id(serve: Serve) -> None:
    site = await serve(make_bridge(authenticate=lambda _: Principal(user="42")))
    status, descriptor = await site.post("connect", {})
    assert (status, descriptor["client"][:2]) == (200, "c_")


async def test_authenticate_that_raises_is_500(serve: Serve) -> None:
    def current_user(_: Request) -> str:
        raise LookupError("the database is down")

    site = await serve(make_bridge(authenticate=current_user))
    for route in ("connect", "poll", "sse"):
        status, answer = await site.post(route, {"positions": {}})
        assert (status, answer["error"]["code"]) == (500, "internal"), route
        assert "database" not in answer["error"]["message"]


async def test_connect_does_not_extend_the_token_lifetime(site: Site) -> None:
    bearer = f"Bearer {site.token('42', 'job.*', seconds=60)}"
    status, descriptor = await site.post("connect", {}, authorization=bearer)
    assert (status, descriptor["expires"] <= 60) == (200, True)
    exchanged = site.tokens.verify(descriptor["token"])
    assert exchanged.expires <= time.time() + 60
    assert exchanged.channels == ("job.*",)


async def test_token_in_its_own_header_leaves_authorization_to_a_proxy(site: Site) -> None:
    basic = "Basic YWRhOnNlY3JldA=="
    own = {"realtime-token": site.token("42"), "authorization": basic}
    assert (await site.post("poll", {"positions": {}}, **own))[0] == 200
    other = {"realtime-token": site.token("42"), "authorization": "Bearer of-a-proxy"}
    assert (await site.post("poll", {"positions": {}}, **other))[0] == 200
    wrong = {"realtime-token": "wrong", "authorization": f"Bearer {site.token('42')}"}
    assert (await site.post("poll", {"positions": {}}, **wrong))[0] == 401
