"""Tests of texts of strangers in memory, in terminals and in logs."""

import gc
import io
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from realtime_bridge.cli.console import stderr, visible
from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model.channel import check_channel
from realtime_bridge.model.event import Event
from realtime_bridge.server.auth.tokens import Tokens
from tests.cli.processes import SECRET, ServeProcess, command, run
from tests.security.requests import ask, get
from tests.server.harness import Site

MEGABYTES = 6 * 1024 * 1024


def test_refused_names_of_megabytes_are_not_kept() -> None:
    name = "x" * MEGABYTES
    before = sys.getrefcount(name)
    with pytest.raises(InvalidEventError) as channel_error:
        check_channel(name)
    with pytest.raises(InvalidEventError) as event_error:
        Event(channel="job.1", event=name, data=None)
    assert len(str(channel_error.value)) + len(str(event_error.value)) < 1_000
    del channel_error, event_error  # their tracebacks refer to the name
    gc.collect()
    assert sys.getrefcount(name) == before


ESCAPES = ["\x1b[2J", "\x9b2J", "\x07", "\x1b]0;title\x07", "\r", "\x7f", "\u202e", "\ud800"]


@pytest.mark.parametrize("escape", ESCAPES)
def test_terminal_gets_no_control_character(escape: str) -> None:
    text = visible(f"no answer: {escape}é\n")
    assert escape not in text
    assert text.startswith("no answer: \\")
    assert text.endswith("é\n")


def test_console_writes_control_characters_out(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    monkeypatch.setattr(stderr, "file", output)
    stderr.print("a \x1b[31mred\x1b[0m line", end="")
    assert output.getvalue() == r"a \x1b[31mred\x1b[0m line"


@pytest.mark.parametrize("path", ["/realtime/%1b[2J%0aERROR", "/realtime/x%0d%0ay", "/%9b2J"])
async def test_path_of_a_stranger_is_not_in_the_log(
    site: Site, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    answer = await ask(site.origin, get(path))
    assert answer.status == 404
    assert b"\x1b" not in answer.body
    assert not [one for one in caplog.records if one.name.startswith("realtime_bridge")]


def test_listener_takes_its_token_from_the_environment_or_standard_input(tmp_path: Path) -> None:
    with ServeProcess(folder=tmp_path, variables={"REALTIME_SECRET": SECRET}) as server:
        token = Tokens(SECRET, issuer="realtime").issue("ada", channels=["job.*"])
        listen = ("listen", "job.1", "--url", server.url, "--count", "1")
        publish = ("publish", "job.1", "job.step", '"\\u009b2J"')
        variables = {"REALTIME_SECRET": SECRET, "REALTIME_WEBSOCKET_URL": server.url}

        with command(*listen, folder=tmp_path, variables={"REALTIME_TOKEN": token}) as listener:
            listener.line("listening job.1")
            assert run(*publish, folder=tmp_path, variables=variables).returncode == 0
            line = listener.output_line()
        assert "\\u009b2J" in line
        assert "\x9b" not in line

        program = Path(sys.executable).with_name("realtime-bridge")
        others = {name: text for name, text in os.environ.items() if "REALTIME_" not in name}
        with subprocess.Popen(
            [program, *listen, "--token", "-"],
            cwd=tmp_path,
            env=others,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdin
            assert process.stdout
            assert process.stderr
            process.stdin.write(f"{token}\n")
            process.stdin.close()
            assert process.stderr.readline().startswith("listening job.1")
            assert run(*publish, folder=tmp_path, variables=variables).returncode == 0
            assert "job.step" in process.stdout.readline()
