"""Checks of messages between one client and its servers: each finds what it is for."""

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from realtime_bridge.model.position import Position
from realtime_bridge.testing.simulation.wire_checker import WireChecker

CHANNEL, EPOCH = "job.7", "aaaaaaaa"


class Violations:
    """Stand-in for the checker of invariants."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.now_ms = 0

    def affects(self, *_: object) -> bool:
        return False

    def fail(self, invariant: str, *_: object) -> None:
        self.found.append(invariant)


@pytest.fixture
def violations() -> Violations:
    return Violations()


@pytest.fixture
def checker(violations: Violations) -> WireChecker:
    page = SimpleNamespace(client_ids=["c_1"], positions={CHANNEL: Position(EPOCH, 5, "a5")})
    store = SimpleNamespace(
        last_generation=2,
        rolled_back={(EPOCH, 5, "a5")},
        previous={(EPOCH, 6, "b6"): (EPOCH, 5, "b5"), (EPOCH, 6, "a6"): (EPOCH, 5, "a5")},
    )
    return WireChecker(cast("Any", page), cast("Any", store), cast("Any", violations))


def place(offset: int, id: str = "") -> dict[str, Any]:  # noqa: A002 -- the name on the wire
    return {"epoch": EPOCH, "offset": offset, "id": id or f"a{offset}"}


def message(kind: str, offset: int, **fields: Any) -> str:
    return json.dumps({"type": kind, "channel": CHANNEL, **place(offset), **fields})


@pytest.mark.parametrize(
    ("messages", "found"),
    [
        ([("subscribed", 5), ("event", 6), ("event", 7)], []),
        ([("subscribed", 5), ("event", 7)], ["I21"]),
        ([("subscribed", 5), ("event", 5)], ["I21"]),
        ([("subscribed", 5), ("reset", 8), ("event", 9)], []),
        ([("event", 9)], []),
    ],
)
def test_gap_on_one_connection_is_found(
    checker: WireChecker, violations: Violations, messages: list[tuple[str, int]], found: list[str]
) -> None:
    for kind, offset in messages:
        checker.received(1, message(kind, offset))
    assert violations.found == found


def test_page_with_more_is_followed_by_no_event(
    checker: WireChecker, violations: Violations
) -> None:
    checker.received(1, message("subscribed", 5, more=True))
    checker.received(1, message("subscribed", 9))
    checker.received(1, message("event", 10))
    assert violations.found == []


def test_subscription_without_the_known_position_is_found(
    checker: WireChecker, violations: Violations
) -> None:
    checker.sent(json.dumps({"type": "subscribe", "channel": CHANNEL, "position": place(5)}))
    assert violations.found == []
    checker.sent(json.dumps({"type": "subscribe", "channel": CHANNEL}))
    assert violations.found == ["I21"]


def test_poll_answered_while_a_subscription_is_queued_is_accepted(
    checker: WireChecker, violations: Violations
) -> None:
    checker.answered("/realtime/poll", b'{"positions":{}}', b'{"channels":{}}')
    checker.sent(json.dumps({"type": "subscribe", "channel": CHANNEL}))
    assert violations.found == []
    violations.now_ms += 1
    checker.sent(json.dumps({"type": "subscribe", "channel": CHANNEL}))
    assert violations.found == ["I21"]


@pytest.mark.parametrize(
    ("asked", "part", "found"),
    [
        (place(5), {"events": [place(6)], "position": place(6)}, []),
        (place(5), {"events": [place(6, "b6")], "position": place(6, "b6")}, ["I12"]),
        (place(5), {"events": [], "position": place(5)}, []),
        (place(5), {"events": [], "position": place(5, "b5")}, ["I12"]),
        (place(5), {"reset": "regressed", "position": place(5, "b5")}, []),
        (place(5, "b5"), {"reset": "regressed", "position": place(5, "b5")}, ["I12"]),
        (place(5, "b5"), {"reset": "truncated", "position": place(9)}, []),
    ],
)
def test_poll_of_another_position_is_found(
    checker: WireChecker,
    violations: Violations,
    asked: dict[str, Any],
    part: dict[str, Any],
    found: list[str],
) -> None:
    request, answer = {"positions": {CHANNEL: asked}}, {"channels": {CHANNEL: part}}
    checker.answered("/realtime/poll", json.dumps(request).encode(), json.dumps(answer).encode())
    assert violations.found == found


def test_second_request_for_the_newest_descriptor_is_found(
    checker: WireChecker, violations: Violations
) -> None:
    for generation, found in ((1, []), (2, []), (1, ["I20"])):
        checker.answered("/realtime/connect", b"", json.dumps({"generation": generation}).encode())
        assert violations.found == found


def test_two_pending_polls_are_found(checker: WireChecker, violations: Violations) -> None:
    checker.polled(1)
    checker.polled(2)
    assert violations.found == ["I7"]
