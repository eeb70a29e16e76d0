"""Programs in other languages: what the page prints publishes an event."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import jwt
import pytest

from tests.cli.processes import SECRET, ServeProcess, command, environment
from tests.docs.test_code_blocks import ROOT

PAGE = ROOT / "docs" / "other-languages.md"
COMMANDS = {
    "publish.sh": ["sh"],
    "publish.mjs": ["node"],
    "publish.go": ["go", "run"],
    "publish.php": ["php"],
}
PROGRAMS = [("publish.sh", 1), ("publish.mjs", 2)]
if "TEST_GO" in os.environ:
    # Go compiles its libraries for 40 s, so a job of the CI workflow alone runs Go's program.
    PROGRAMS.append(("publish.go", 3))
if shutil.which("php"):
    PROGRAMS.append(("publish.php", 4))


def program(name: str) -> str:
    match = re.search(
        rf"^`{name}`[^\n]*\n\n```\w+\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    assert match
    return match[1]


@pytest.mark.parametrize(("name", "order"), PROGRAMS)
def test_printed_program_publishes_an_event(name: str, order: int, tmp_path: Path) -> None:
    (tmp_path / name).write_text(program(name))
    # A token of another program, as the page describes its claims.
    now = int(time.time())
    claims = {"iss": "realtime", "aud": "realtime", "sub": "ann", "iat": now, "exp": now + 600}
    token = jwt.encode(claims, SECRET, algorithm="HS256")
    with ServeProcess(folder=tmp_path, variables={"REALTIME_SECRET": SECRET}) as server:
        listen = ("listen", "user-ann", "--url", server.url, "--token", token, "--count", "1")
        with command(*listen, folder=tmp_path) as listener:
            listener.line("listening")
            variables = {"REALTIME_URL": server.url, "REALTIME_SECRET": SECRET}
            done = subprocess.run(
                [*COMMANDS[name], name],
                cwd=tmp_path,
                env=environment(variables),
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            status, output = listener.finish()
    assert status == 0
    assert f'"data":{{"order":{order}}}' in output
