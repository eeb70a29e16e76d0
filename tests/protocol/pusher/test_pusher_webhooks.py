"""Facts that webhooks report: their order, their numbers, and what a next server reads."""

from collections.abc import Iterable, Mapping

import orjson

from realtime_bridge.model.event import Event
from realtime_bridge.protocol.pusher.signatures import PusherApp
from realtime_bridge.protocol.pusher.webhooks import (
    PARTS,
    Change,
    Fact,
    ReportedFacts,
    encode_webhook,
    keep_alive,
    part_channel,
    sign_webhook,
)

ROOM = "presence-room"


def shown(changes: Iterable[Change]) -> list[tuple[str, str, str | None]]:
    """Return what the webhooks report."""
    data = [change.event.data for change in changes]
    return [(one["name"], one["channel"], one.get("user_id")) for one in data]


class Reported(ReportedFacts):
    """Facts whose changes are stored at once."""

    def report(
        self, occupied: Iterable[str], members: Mapping[str, Iterable[str]] = {}, now: float = 0.0
    ) -> list[tuple[str, str, str | None]]:
        changes = self.changes(occupied, members, now)
        for change in changes:
            self.settle(change)
        return shown(changes)


def test_channel_comes_before_its_members_and_leaves_after_them() -> None:
    reported = Reported(stay=3.0)
    assert reported.report(["news", ROOM], {ROOM: ["ben", "ann"]}) == [
        ("channel_occupied", "news", None),
        ("channel_occupied", ROOM, None),
        ("member_added", ROOM, "ann"),
        ("member_added", ROOM, "ben"),
    ]
    assert reported.report(["news", ROOM], {ROOM: ["ben", "ann"]}) == []
    assert reported.report(["news", ROOM], {ROOM: ["ben"]}) == [("member_removed", ROOM, "ann")]
    assert reported.report(["news"], {ROOM: ["ben"]}, now=10.0) == []
    assert reported.report(["news"], {ROOM: ["ben"]}, now=13.0) == [
        ("member_removed", ROOM, "ben"),
        ("channel_vacated", ROOM, None),
    ]
    assert reported.channels == ["news"]


def test_channel_that_is_vacant_for_a_moment_stays_occupied() -> None:
    reported = Reported(stay=3.0)
    reported.report(["news"])
    for occupied, now in (([], 1.0), (["news"], 3.9), ([], 4.0), ([], 6.9)):
        assert reported.report(occupied, now=now) == []
    assert reported.report([], now=7.0) == [("channel_vacated", "news", None)]


def test_change_that_is_not_stored_comes_again() -> None:
    reported = Reported(stay=0.0)
    assert shown(reported.changes(["news"], {}, 0.0)) == shown(reported.changes(["news"], {}, 1.0))


def test_next_server_reads_what_is_reported() -> None:
    reported = Reported(stay=0.0)
    log: dict[tuple[str, str | None], Event] = {}

    def store(occupied: list[str], members: Mapping[str, list[str]]) -> None:
        for change in reported.changes(occupied, members, 0.0):
            log[change.event.channel, change.event.key] = change.event
            reported.settle(change)

    store(["news", ROOM], {ROOM: ["ann", "ben"]})
    store([ROOM], {ROOM: ["ben"]})
    reader = Reported(stay=0.0)
    for part in range(PARTS):
        events = [event for event in log.values() if event.channel == part_channel(part)]
        reader.load(part, [*events, keep_alive(part)])
    assert reader.parts == reported.parts
    assert reader.report([ROOM], {ROOM: ["ben"]}) == []
    assert reader.report([]) == [("member_removed", ROOM, "ben"), ("channel_vacated", ROOM, None)]
    assert reader.parts == []


def test_numbers_are_used_again_and_bounded() -> None:
    reported = Reported(stay=0.0, limit=3)
    for user in ("a", "b", "c", "d"):
        reported.report([ROOM], {ROOM: [user]})
        (change,) = reported.changes([ROOM], {}, 0.0)
        assert change.fact == Fact(ROOM, user)
        assert change.number in (1, 2)
    assert reported.unreported == 0
    assert len(reported.report([ROOM], {ROOM: ["d", "e", "f"]})) == 1
    assert reported.unreported == 1


def test_webhook_has_the_time_of_the_change_and_pushers_signature() -> None:
    (change,) = ReportedFacts(0.0).changes(["news"], {}, 0.0)
    event = change.event.with_position(None, 1_700_000_000_123)
    body = encode_webhook(event)
    assert orjson.loads(body) == {
        "time_ms": 1_700_000_000_123,
        "events": [{"name": "channel_occupied", "channel": "news"}],
    }
    app = PusherApp("1", "app-key", "secret")
    assert sign_webhook(app, body) == {
        "content-type": "application/json",
        "x-pusher-key": "app-key",
        "x-pusher-signature": app.sign(body.decode()),
    }
