"""Signatures of Pusher's protocol: calls of server SDKs, subscriptions and sign-ins."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping

from msgspec import Struct

from realtime_bridge.protocol.pusher.call_error import CallError

CLOCK_SECONDS = 600
"""Largest difference between the timestamp of a call and the server's clock."""

_SIGNATURE = "auth_signature"


class PusherApp(Struct, frozen=True):
    """Credentials of one app, which sign and verify.

    Args:
        app_id: the app's id.
        key: the public key with which clients connect.
        secret: the secret that signs calls, subscriptions and sign-ins.

    """

    app_id: str
    key: str
    secret: str

    def __repr__(self) -> str:
        return f"PusherApp({self.app_id!r})"

    def sign(self, text: str) -> str:
        """Return the signature of a text, in hex."""
        data = text.encode(errors="surrogatepass")
        return hmac.digest(self.secret.encode(), data, "sha256").hex()

    def sign_for_client(self, text: str) -> str:
        """Return the signature of a subscription or sign-in, with the key before it."""
        return f"{self.key}:{self.sign(text)}"

    def name_source(self, socket_id: str) -> str:
        """Return the name of a socket as the source of events, from which no client gets its id.

        A user with the id of another's socket can keep events from that one: applications pass the
        id of a request on, so that its socket does not get the event.
        """
        return self.sign(f"source:{socket_id}")[:32]

    def accepts(self, auth: object, text: str) -> bool:
        """Return whether `auth` is the signature of a subscription or sign-in."""
        return isinstance(auth, str) and _is_equal(auth, self.sign_for_client(text))

    def check_call(
        self,
        method: str,
        paths: Iterable[str],
        query: Mapping[str, str],
        body: bytes,
        *,
        now: float,
    ) -> None:
        """Check the signature of a call (Pusher docs, HTTP API reference, "authentication").

        Args:
            method: the HTTP method.
            paths: the spellings of the path, without the query: SDKs differ in what they encode.
            query: the received query parameters, the signature among them.
            body: the raw body.
            now: the time, in seconds since the Unix epoch.

        Raises:
            CallError: 401, the key, the time, the body's MD5 or the signature is wrong.

        """
        self.check_form(query, now=now)
        if body and query.get("body_md5") != hashlib.md5(body).hexdigest():  # noqa: S324 -- the protocol's hash
            raise CallError(401, "body_md5 does not match the body")
        # The parameters as received, not a list of known names: the Python SDK also signs an
        # empty body's MD5. Their values are not percent-encoded in the signed text.
        parameters = sorted(
            (name.lower(), value) for name, value in query.items() if name != _SIGNATURE
        )
        signed = "&".join(map("=".join, parameters))
        texts = (f"{method}\n{path}\n{signed}" for path in paths)
        # A list: the time of the check must not depend on which spelling is right.
        matches = [_is_equal(query[_SIGNATURE], self.sign(text)) for text in texts]
        if not any(matches):
            raise CallError(401, "Invalid signature: sign the method, the path and the query")

    def check_form(self, query: Mapping[str, str], *, now: float) -> None:
        """Check what needs no body: the key, the time, and that there is a signature.

        Raises:
            CallError: 401, as for `check_call`.

        """
        if not _is_equal(query.get("auth_key", ""), self.key):
            raise CallError(401, "Unknown auth_key")
        try:
            age = abs(now - float(query.get("auth_timestamp", "")))
        except ValueError:
            raise CallError(401, "auth_timestamp is not a Unix time in seconds") from None
        # `not … <=` rejects NaN too, with which no comparison is true.
        if not age <= CLOCK_SECONDS:
            raise CallError(401, f"Timestamp expired: {age:.0f} s from the server's clock")
        if _SIGNATURE not in query:
            raise CallError(401, "Invalid signature: auth_signature is missing")


def channel_text(socket_id: str, channel: str, member: str | None = None) -> str:
    """Return the text that is signed for a subscription; `member` is a presence channel's user."""
    return f"{socket_id}:{channel}" if member is None else f"{socket_id}:{channel}:{member}"


def user_text(socket_id: str, user_data: str) -> str:
    """Return the text that is signed for a sign-in."""
    return f"{socket_id}::user::{user_data}"


def _is_equal(given: str, expected: str) -> bool:
    # Constant-time, so that its duration reveals no byte of the expected signature.
    pair = (text.encode(errors="surrogatepass") for text in (given, expected))
    return hmac.compare_digest(*pair)
