"""Identifiers: their forms, and their uniqueness."""

import time
import uuid

from realtime_bridge.model import ids
from realtime_bridge.model.position import Position


def test_event_id_is_a_uuid7_of_this_millisecond() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid.UUID(ids.event_id())
    after = time.time_ns() // 1_000_000
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= after
    assert str(made) == str(made).lower()


def test_new_epoch_is_valid_in_a_position() -> None:
    for _ in range(100):
        made = ids.epoch()
        assert Position(made, 0).epoch == made
        assert not set(made) & set("ilou")


def test_no_identifier_is_created_twice() -> None:
    for make in (ids.event_id, ids.epoch, ids.client_id):
        assert len({make() for _ in range(1_000)}) == 1_000


def test_client_id_has_its_prefix() -> None:
    assert ids.client_id().startswith("c_")
    assert len(ids.client_id()) == 20
