"""Command `forward`: values that cannot work, and a log that is down at first."""

from pathlib import Path
from signal import SIGTERM

import pytest

from tests.cli.processes import command, complaint, run
from tests.services.redis import RedisServer

UNUSED = "redis://:hunter2@127.0.0.1:9/0"
REDIS = {"REALTIME_BACKEND": "redis", "REALTIME_REDIS_URL": UNUSED}


@pytest.mark.parametrize(
    ("earlier", "variables", "sentence"),
    [
        ("REALTIME_PREFIX=\n", REDIS, "is the configured log: write the values from before"),
        (f"REALTIME_REDIS_URL={UNUSED}\n", REDIS, "REALTIME_PREFIX=realtime, which is the"),
        ("REALTIME_BACKEND=websocket\n", REDIS, "cannot be forwarded, since it ends with its"),
        ("REALTIME_BACKEND=memroy\n", REDIS, "memroy"),
        ("REALTIME_PREFIX=a b\n", REDIS, "REALTIME_PREFIX: use 1 to 64 letters"),
    ],
)
def test_file_that_cannot_work_is_an_error(
    earlier: str, variables: dict[str, str], sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "old.env").write_text(earlier)
    error = complaint(run("forward", "old.env", folder=tmp_path, variables=variables), status=1)
    assert sentence in error
    assert "hunter2" not in error


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    result = run("forward", "old.env", folder=tmp_path, variables=REDIS)
    assert (result.returncode, "does not exist" in result.stderr) == (2, True)


def test_log_that_is_down_is_waited_for(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis", "--save", "")
    variables = {"REALTIME_BACKEND": "redis", "REALTIME_REDIS_URL": server.url}
    (tmp_path / "old.env").write_text("REALTIME_PREFIX=old\n")
    with command("forward", "old.env", folder=tmp_path, variables=variables) as process:
        process.line("waiting: ")
        with server:
            process.line("forwarding again")
            process.line(f"forwarding from Redis at {server.url}")
            process.send(SIGTERM)
            assert process.finish()[0] == 0
    assert sum(line.startswith("waiting") for line in process.errors) == 1
