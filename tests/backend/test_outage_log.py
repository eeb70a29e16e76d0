"""Log lines of an outage."""

import logging

import pytest

from realtime_bridge.backend.outage_log import OutageLog, is_connection_error
from realtime_bridge.errors import BackendUnavailableError

LOGGER = logging.getLogger("tests.outage")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def outage_log(clock: Clock, *, quiet: float = 0.0) -> OutageLog:
    return OutageLog(LOGGER, "poll failed", "polls work", quiet=quiet, clock=clock)


def test_outage_has_one_line_at_its_start_and_one_at_its_end(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    outage = outage_log(clock)
    outage.works()
    for _ in range(1_000):
        outage.failed(BackendUnavailableError("It is away"), route="poll")
        clock.now += 0.1
    outage.works()
    outage.works()
    assert caplog.messages == [
        "poll failed route=poll error='It is away'",
        "polls work failures=1000 outage_s=100.0",
    ]


def test_error_of_another_class_in_an_outage_is_logged_too(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    outage = outage_log(clock)
    outage.failed(ConnectionResetError("reset"))
    outage.failed(TypeError("a mistake"))
    outage.failed(TypeError("a mistake"))
    assert [bool(record.exc_info) for record in caplog.records] == [False, True]


def test_success_between_failures_ends_no_outage(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    outage = outage_log(clock, quiet=5)
    for _ in range(100):
        outage.failed("It is away")
        clock.now += 1
        outage.works()
    assert len(caplog.messages) == 1
    clock.now += 5
    outage.works()
    assert len(caplog.messages) == 2


def test_failure_long_after_a_success_begins_another_outage(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    outage = outage_log(clock, quiet=5)
    outage.failed("It is away")
    clock.now += 1
    outage.works()
    clock.now += 3_600
    outage.failed("It is away")
    assert caplog.messages == [
        "poll failed error='It is away'",
        "polls work failures=1 outage_s=1.0",
        "poll failed error='It is away'",
    ]


RESET = "unable to perform operation on <TCPTransport closed=True>; the handler is closed"


@pytest.mark.parametrize("error", [RuntimeError(RESET), EOFError(), ConnectionResetError()])
def test_loss_of_a_connection_is_an_ordinary_error(error: Exception) -> None:
    assert is_connection_error(error)


@pytest.mark.parametrize("error", [RuntimeError("it changed size"), KeyError("id"), TypeError()])
def test_mistake_in_code_is_no_connection_error(error: Exception) -> None:
    assert not is_connection_error(error)
