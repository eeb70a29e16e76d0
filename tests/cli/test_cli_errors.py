"""What the command refuses to do: with the right status, a cure, no traceback and no secret."""

import subprocess
from collections.abc import Mapping
from typing import NamedTuple

import pytest

from realtime_bridge.settings import DEVELOPMENT_SECRET
from tests.cli.processes import SECRET, complaint, run_all

FAILED, WRONG_USAGE = 1, 2
REAL = {"REALTIME_SECRET": SECRET}
FAR = {"REALTIME_WEBSOCKET_URL": "https://ada:password@example.com"}


Runs = list[subprocess.CompletedProcess[str]]


class Refusal(NamedTuple):
    command: str
    said: tuple[str, ...]
    status: int = FAILED
    variables: Mapping[str, str] = {}


SERVE = "serve --port 0"
AS_ADA = "listen user-ada --user ada"

REFUSALS = (
    Refusal(SERVE, ("REALTIME_SECRET is not set", "openssl rand -hex 32", "serve --dev")),
    Refusal(
        SERVE, ("REALTIME_SECRET", "at least 32", "openssl"), FAILED, {"REALTIME_SECRET": "hunter2"}
    ),
    Refusal(
        SERVE,
        ("development secret, known to everyone", "openssl rand -hex 32"),
        FAILED,
        {"REALTIME_SECRET": DEVELOPMENT_SECRET},
    ),
    Refusal(f"{SERVE} --workers 2", ("--workers 2", "set REALTIME_LOG"), FAILED, REAL),
    Refusal(f"{SERVE} --dev --host 0.0.0.0", ("--dev trusts everybody", "leave out")),
    Refusal(
        f"{SERVE} --host 0.0.0.0", ("--dev trusts everybody",), FAILED, {"REALTIME_DEV": "true"}
    ),
    Refusal(
        f"{SERVE} --dev",
        ("Did you mean 'memory'?", "Installed backends: ably, memory, null, postgres"),
        FAILED,
        {"REALTIME_BACKEND": "memroy"},
    ),
    Refusal(f"{SERVE} --dev", ("no log", "memory"), FAILED, {"REALTIME_BACKEND": "null"}),
    Refusal(f"{SERVE} --dev --path bad", ("_PATH", "_PREFIX"), FAILED, {"REALTIME_PREFIX": "!"}),
    Refusal(f"{SERVE} nowhere:bridge", ("'nowhere:bridge'", "like app:bridge"), FAILED, REAL),
    Refusal(f"{SERVE} json", ("'json'", "like app:bridge"), FAILED, REAL),
    Refusal(f"{SERVE} json:dumps", ("'json:dumps' is not a Bridge",), FAILED, REAL),
    Refusal("serve --port 65536", ("Usage", "65535"), WRONG_USAGE),
    Refusal("publish user-ada job.x {percent:30}", ("JSON", '{"percent": 30}'), WRONG_USAGE),
    Refusal("publish user-ada", ("Missing argument",), WRONG_USAGE),
    Refusal("publish user/ada job.x", ("'user/ada'", "A-Z")),
    Refusal(f"publish user-ada {'x' * 65}", ("1 to 64 printable characters",)),
    Refusal("publish a b", ("Did you mean 'websocket'?",), FAILED, {"REALTIME_BACKEND": "socket"}),
    Refusal("publish a b", ("_URL",), FAILED, {"REALTIME_WEBSOCKET_URL": "nonsense"}),
    Refusal("publish a b", ("REALTIME_SECRET is not set",), FAILED, FAR),
    Refusal("token ada", ("REALTIME_SECRET is not set",), FAILED, FAR),
    Refusal(AS_ADA, ("REALTIME_SECRET is not set",), FAILED, FAR),
    Refusal(f"{AS_ADA} --since yesterday", ("EPOCH:OFFSET",), WRONG_USAGE),
    Refusal("listen user-ada", ("--user USER, or --token TOKEN",), WRONG_USAGE),
    Refusal("listen user-ada --token forged", ("token",)),
    Refusal("listen user-ada --token forged --url nonsense", ("address like",)),
)


@pytest.fixture(scope="module")
def refused(there: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Run all of them, against a server that works."""
    commands = [(one.command.split(), {**there, **one.variables}) for one in REFUSALS]
    return run_all(commands, tmp_path_factory.mktemp("refused"))


@pytest.mark.parametrize(
    ("number", "refusal"), [*enumerate(REFUSALS)], ids=[one.command[:40] for one in REFUSALS]
)
def test_it_is_refused_with_a_cure(refused: Runs, number: int, refusal: Refusal) -> None:
    complained = complaint(refused[number], status=refusal.status)
    for part in refusal.said:
        assert part in complained
    for secret in ("hunter2", "password", DEVELOPMENT_SECRET):
        assert secret not in complained
