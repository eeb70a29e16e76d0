"""Requests that schemathesis makes from docs/reference/openapi.yaml, to a running server."""

import hashlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch
from urllib.parse import urlencode

import requests
import schemathesis
import uvicorn
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from realtime_bridge.protocol.pusher.signatures import PusherApp
from realtime_bridge.protocol.wire.rpc import signed_headers
from realtime_bridge.server import Bridge
from realtime_bridge.server.auth.tokens import Tokens
from realtime_bridge.settings import Settings
from tests.server.harness import BOUNDED, FAST
from tests.server.reference import FOLDER

SECRET = "a secret of the fuzzers: 32 bytes long at least"
APP = PusherApp("1001", "app-key", "the secret of the app")
ENVIRONMENT = {
    "REALTIME_PUSHER_APP_ID": APP.app_id,
    "REALTIME_PUSHER_KEY": APP.key,
    "REALTIME_PUSHER_SECRET": APP.secret,
}
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
TIMEOUT = 10.0

_SCHEMA: Any = schemathesis.openapi.from_path(FOLDER / "openapi.yaml")
CASES: st.SearchStrategy[Case[Any]] = st.one_of(
    [
        operation.ok().as_strategy(mode)
        for operation in _SCHEMA.get_all_operations()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    ]
)


@contextmanager
def http() -> Iterator[Callable[[Case[Any]], None]]:
    """Serve a bridge, and yield the function that sends a case and checks the answer."""
    tokens = Tokens(SECRET, issuer="realtime")
    token = tokens.issue("42", channels=["*"], controls=["*"], seconds=100_000)
    with _serve() as origin, requests.Session() as session:

        def check(case: Case[Any]) -> None:
            is_root = case.path.startswith("/apps/")
            if is_root:
                case.path_parameters["app"] = APP.app_id
            base_url = origin if is_root else f"{origin}/realtime"
            options: dict[str, Any] = case.as_transport_kwargs(base_url=base_url)
            options["headers"].setdefault("Realtime-Token", token)
            prepared = session.prepare_request(requests.Request(**options))
            checks = CHECKS if _sign(case, prepared) else [*CHECKS, negative_data_rejection]
            with session.send(prepared, stream=True, timeout=TIMEOUT) as response:
                # An open stream has no end, so its head alone is checked.
                if not response.headers.get("content-type", "").startswith("text/event-stream"):
                    case.validate_response(response, checks=checks)

        yield check


@contextmanager
def _serve() -> Iterator[str]:
    with patch.dict(os.environ, ENVIRONMENT):
        bridge = Bridge(
            Settings(
                secret=SECRET,
                pusher_door=True,
                limit_connections_per_user=1_000,
                limit_channels_per_connection=1_000,
            )
        )
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(bridge, http=BOUNDED, ws=FAST, log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def _sign(case: Case[Any], request: requests.PreparedRequest) -> bool:
    """Sign a call of a worker or of Pusher's server SDKs, and return whether it is one."""
    text = request.body or b""
    assert isinstance(text, str | bytes)
    body = text.encode() if isinstance(text, str) else text
    if case.path == "/publish":
        request.headers.update(signed_headers(SECRET, f"{time.time():.6f}", body))
    elif case.path.startswith("/apps/"):
        fields = {
            "auth_key": APP.key,
            "auth_timestamp": str(int(time.time())),
            "auth_version": "1.0",
            "body_md5": hashlib.md5(body).hexdigest(),
        }
        path = request.path_url.partition("?")[0]
        signed = "&".join(f"{name}={fields[name]}" for name in sorted(fields))
        signature = APP.sign(f"{request.method}\n{path}\n{signed}")
        query = urlencode({**fields, "auth_signature": signature})
        request.url = f"{str(request.url).partition('?')[0]}?{query}"
    else:
        return False
    return True
