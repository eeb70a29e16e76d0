"""Clock of a worker: which answers of a server correct it."""

import pytest

from realtime_bridge.protocol.publishing.server_clock import ServerClock

NOW = 1_000.0


def refusal(**fields: object) -> dict[str, object]:
    return {"error": {"code": "old_timestamp", "message": "…", "time": 1_400_500, **fields}}


def test_refused_time_is_corrected_by_the_server() -> None:
    clock = ServerClock()
    assert clock.timestamp(NOW) == "1000.000000"
    assert clock.correct(refusal(), NOW)
    assert clock.timestamp(NOW + 1) == "1401.500000"


def test_later_refusal_replaces_the_correction() -> None:
    clock = ServerClock()
    clock.correct(refusal(), NOW)
    assert clock.correct(refusal(time=999_000), NOW)
    assert clock.timestamp(NOW) == "999.000000"


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {"error": None},
        refusal(code="bad_signature"),
        refusal(time=None),
        refusal(time=True),
        refusal(time="1400500"),
        refusal(time=(86_401 + 1_000) * 1_000),
        refusal(time=-86_401_000),
    ],
)
def test_other_answer_leaves_the_clock(answer: object) -> None:
    clock = ServerClock()
    assert not clock.correct(answer, NOW)
    assert clock.correction == 0
