"""Programs in other languages: what the page prints publishes an event.

Go is not on each machine: run its program by hand after a change.
"""

import re
import subprocess
import time
from pathlib import Path

import jwt
import pytest

from tests.cli.processes import SECRET, ServeProcess, command, environment
from tests.docs.test_code_blocks import ROOT

PAGE = ROOT / "docs" / "other-languages.md"
PROGRAMS = {"publish.sh": ("sh", 1), "publish.mjs": ("node", 2)}


def program(name: str) -> str:
    match = re.search(
        rf"^`{name}`[^\n]*\n\n```\w+\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    assert match
    return match[1]


@pytest.mark.parametrize("name", PROGRAMS)
def test_printed_program_publishes_an_event(name: str, tmp_path: Path) -> None:
    interpreter, order = PROGRAMS[name]
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
                [interpreter, name],
                cwd=tmp_path,
                env=environment(variables),
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            status, output = listener.finish()
    assert status == 0
    assert f'"data":{{"order":{order}}}' in output
