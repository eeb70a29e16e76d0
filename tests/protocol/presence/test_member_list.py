"""Members of a channel, by the vectors of both languages: see tests/vectors/README.md."""

import json
from pathlib import Path
from typing import Any

import pytest

from realtime_bridge.model.event import Event
from realtime_bridge.model.key_write import KeyWrite
from realtime_bridge.protocol.presence.member_list import MAX_MEMBERS, MemberList, PresenceChange

FILE = Path(__file__).parents[2] / "vectors" / "presence.json"
VECTORS = json.loads(FILE.read_text())["vectors"]


def event_of(fields: dict[str, Any]) -> Event:
    body, fold = json.dumps(fields["data"]).encode(), fields.get("fold")
    write = KeyWrite(fold, "node")
    return Event.internal("@realtime.presence.x", "x", body, key=fields.get("key"), write=write)


def give(members: MemberList, step: dict[str, Any]) -> list[PresenceChange]:
    if "snapshot" in step:
        return members.load(map(event_of, step["snapshot"]), step["at"])
    if "event" in step:
        return members.handle(event_of(step["event"]), step["at"])
    return members.tick(step["at"])


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_vector(vector: dict[str, Any]) -> None:
    members = MemberList()
    for step in vector["steps"]:
        changes = [[one.kind, one.member.user] for one in give(members, step)]
        assert changes == step["changes"], step
        if "members" in step:
            shown = [{"user": one.user, "info": one.info} for one in members.members]
            assert shown == step["members"], step
        assert members.count == step.get("count", members.count), step
        assert (members.next_change > step["at"]) is True


def test_list_has_the_first_members_and_the_number_of_all() -> None:
    members = MemberList()
    fields = [{"key": str(n), "data": {"user": f"u{n}"}} for n in range(MAX_MEMBERS + 20)]
    members.load(map(event_of, fields), 0)
    assert [one.user for one in members.members] == [f"u{n}" for n in range(MAX_MEMBERS)]
    assert members.count == MAX_MEMBERS + 20
