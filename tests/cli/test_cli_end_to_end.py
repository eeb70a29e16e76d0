"""Server, listener and publisher, each in a process of its own."""

import json
from pathlib import Path

import pytest

from tests.cli.processes import Process, ServeProcess, command, run

PERCENTS = (30, 60, 100)


def listen(url: str, *options: str, user: str = "test-user") -> tuple[str, ...]:
    return ("listen", f"user-{user}", "--user", user, "--url", url, *options)


def publish(folder: Path, url: str, *percents: int, user: str = "test-user") -> None:
    for percent in percents:
        result = run(
            "publish",
            f"user-{user}",
            "job.progress",
            json.dumps({"percent": percent}),
            folder=folder,
            variables={"REALTIME_WEBSOCKET_URL": url},
        )
        assert result.returncode == 0, result.stderr
        assert result.stdout == ""


def received_events(process: Process) -> list[dict[str, object]]:
    status, output = process.finish()
    assert status == 0, process.errors
    return [json.loads(line) for line in output.splitlines()]


@pytest.mark.parametrize("transport", ["auto", "websocket", "sse", "poll"])
def test_events_of_another_process_are_printed(tmp_path: Path, transport: str) -> None:
    options = ("--transport", transport)
    with ServeProcess("--dev", folder=tmp_path) as server:
        with command(*listen(server.url, "--count", "3", *options), folder=tmp_path) as listener:
            line = listener.line("listening")
            epoch = line.removeprefix("listening user-test-user ").removesuffix(":0")
            assert line == f"listening user-test-user {epoch}:0"
            assert len(epoch) == 8
            publish(tmp_path, server.url, *PERCENTS)
            events = received_events(listener)
        assert [event["offset"] for event in events] == [1, 2, 3]
        assert {event["epoch"] for event in events} == {epoch}
        assert [event["data"] for event in events] == [{"percent": n} for n in PERCENTS]
        assert {event["event"] for event in events} == {"job.progress"}
        assert {event["channel"] for event in events} == {"user-test-user"}

        since = listen(server.url, "--since", f"{epoch}:1", "--count", "2", *options)
        with command(*since, folder=tmp_path) as second_listener:
            assert second_listener.line("listening") == f"listening user-test-user {epoch}:1"
            assert received_events(second_listener) == events[1:]


def test_position_of_a_lost_log_prints_reset_then_events(
    development: ServeProcess, tmp_path: Path
) -> None:
    options = ("--since", "aaaaaaaa:7", "--count", "1")
    arguments = listen(development.url, *options, user="ada")
    with command(*arguments, folder=tmp_path) as listener:
        listener.line("listening")
        publish(tmp_path, development.url, 30, user="ada")
        reset, *events = received_events(listener)
    assert (reset["type"], reset["reason"], reset["offset"]) == ("reset", "epoch", 0)
    assert [event["offset"] for event in events] == [1]
