"""Errors of the command line: status, message and hint, without a traceback or a secret."""

import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import pytest

from realtime_bridge.settings import DEVELOPMENT_SECRET
from tests.cli.processes import SECRET, complaint, run

FAILED, WRONG_USAGE = 1, 2
REAL = {"REALTIME_SECRET": SECRET}
REMOTE = {"REALTIME_WEBSOCKET_URL": "https://ada:password@example.com"}


Results = list[Future[subprocess.CompletedProcess[str]]]


class ErrorCase(NamedTuple):
    command: str
    messages: tuple[str, ...]
    status: int = FAILED
    variables: Mapping[str, str] = {}


SERVE = "serve --port 0"
AS_ADA = "listen user-ada --user ada"

ERROR_CASES = (
    ErrorCase(SERVE, ("REALTIME_SECRET is not set", "openssl rand -hex 32", "serve --dev")),
    ErrorCase(
        SERVE, ("REALTIME_SECRET", "at least 32", "openssl"), FAILED, {"REALTIME_SECRET": "hunter2"}
    ),
    ErrorCase(
        SERVE,
        ("development secret, known to everyone", "openssl rand -hex 32"),
        FAILED,
        {"REALTIME_SECRET": DEVELOPMENT_SECRET},
    ),
    ErrorCase(
        f"{SERVE} --workers 2",
        ("--workers 2", "set REALTIME_LOG=sqlite"),
        FAILED,
        REAL | {"REALTIME_LOG": "memory"},
    ),
    ErrorCase(f"{SERVE} --dev --host 0.0.0.0", ("--dev trusts every client", "leave out")),
    ErrorCase(
        f"{SERVE} --host 0.0.0.0", ("--dev trusts every client",), FAILED, {"REALTIME_DEV": "true"}
    ),
    ErrorCase(
        f"{SERVE} --dev",
        ("Did you mean 'memory'?", "Installed backends: ably, memory, null, postgres"),
        FAILED,
        {"REALTIME_BACKEND": "memroy"},
    ),
    ErrorCase(f"{SERVE} --dev", ("no log", "memory"), FAILED, {"REALTIME_BACKEND": "null"}),
    ErrorCase(f"{SERVE} --dev --path bad", ("_PATH", "_PREFIX"), FAILED, {"REALTIME_PREFIX": "!"}),
    ErrorCase(f"{SERVE} nowhere:bridge", ("'nowhere:bridge'", "like app:bridge"), FAILED, REAL),
    ErrorCase(f"{SERVE} json", ("'json'", "like app:bridge"), FAILED, REAL),
    ErrorCase(f"{SERVE} json:dumps", ("'json:dumps' is a function, not a Bridge",), FAILED, REAL),
    ErrorCase("serve --port 65536", ("Usage", "65535"), WRONG_USAGE),
    ErrorCase("publish user-ada job.x {percent:30}", ("JSON", '{"percent": 30}'), WRONG_USAGE),
    ErrorCase("publish user-ada", ("Missing argument",), WRONG_USAGE),
    ErrorCase("publish user/ada job.x", ("'user/ada'", "A-Z")),
    ErrorCase(f"publish user-ada {'x' * 201}", ("1 to 200 printable characters",)),
    ErrorCase(
        "publish a b", ("Did you mean 'websocket'?",), FAILED, {"REALTIME_BACKEND": "socket"}
    ),
    ErrorCase("publish a b", ("_URL",), FAILED, {"REALTIME_WEBSOCKET_URL": "nonsense"}),
    ErrorCase("publish a b", ("REALTIME_SECRET is not set",), FAILED, REMOTE),
    ErrorCase("token ada", ("REALTIME_SECRET is not set",), FAILED, REMOTE),
    ErrorCase(AS_ADA, ("REALTIME_SECRET is not set",), FAILED, REMOTE),
    ErrorCase(f"{AS_ADA} --since yesterday", ("EPOCH:OFFSET",), WRONG_USAGE),
    ErrorCase("listen user-ada", ("--user USER or --token TOKEN",), WRONG_USAGE),
    ErrorCase("listen user-ada --token forged", ("token",)),
    ErrorCase("listen user-ada --token forged --url nonsense", ("address like",)),
)


@pytest.fixture(scope="module")
def results(
    server_variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Results]:
    """Run all cases against a running server, two at a time; each test waits for its own."""
    folder = tmp_path_factory.mktemp("errors")
    with ThreadPoolExecutor(2) as pool:
        yield [
            pool.submit(
                run,
                *case.command.split(),
                folder=folder,
                variables={**server_variables, **case.variables},
            )
            for case in ERROR_CASES
        ]


@pytest.mark.parametrize(
    ("number", "case"), [*enumerate(ERROR_CASES)], ids=[case.command[:40] for case in ERROR_CASES]
)
def test_error_has_message_and_hint(results: Results, number: int, case: ErrorCase) -> None:
    error = complaint(results[number].result(), status=case.status)
    for message in case.messages:
        assert message in error
    for secret in ("hunter2", "password", DEVELOPMENT_SECRET):
        assert secret not in error
