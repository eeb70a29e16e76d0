"""Declared events: definition, publishing, and names that no class declares."""

import logging
from collections.abc import Callable
from enum import StrEnum
from typing import Any, NewType
from uuid import UUID

import pytest
from pydantic import BaseModel, create_model

from realtime_bridge import (
    BlockingBroadcaster,
    Broadcaster,
    ConfigurationError,
    Event,
    InvalidEventError,
    InvalidIdentityError,
    events,
    user_channel,
)
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.publishing.undeclared import UndeclaredEvents
from realtime_bridge.server import Bridge
from realtime_bridge.settings import Settings
from realtime_bridge_backends.memory import MemoryBackend
from tests.shop import OrderPaid, ShopClosed
from tests.test_import import loaded_by

Number = NewType("Number", int)


class Colour(StrEnum):
    RED = "red"


@pytest.fixture
def log() -> MemoryBackend:
    return MemoryBackend()


async def events_of(log: MemoryBackend, channel: str) -> list[Event]:
    page = await log.read(channel, Position((await log.positions([channel]))[channel].epoch, 0))
    assert isinstance(page, Page)
    return list(page.events)


def model(**fields: Any) -> type[BaseModel]:
    definitions: Any = {name: (kind, ...) for name, kind in fields.items()}
    made: type[BaseModel] = create_model("Made", **definitions)
    return made


async def test_object_is_published_with_its_channel_key_and_data(log: MemoryBackend) -> None:
    async with Broadcaster(log=log) as broadcaster:
        receipt = await broadcaster.publish(OrderPaid(id=7, user_id="a b", total=9.5), id="one")
        assert receipt.id == "one"
    (event,) = await events_of(log, user_channel("a b"))
    assert (event.event, event.key) == ("order.paid", "order-7")
    assert event.data["total"] == 9.5
    assert event.data["currency"] == "EUR"
    assert "user_id" not in event.data


async def test_data_has_the_aliases_of_the_fields(log: MemoryBackend) -> None:
    async with Broadcaster(log=log) as broadcaster:
        await broadcaster.publish(ShopClosed(shop="paris", untilDay="Monday"))
    (event,) = await events_of(log, "shop.paris")
    assert event.data == {"shop": "paris", "untilDay": "Monday"}
    assert event.key is None


async def test_batch_takes_objects_and_events_in_order(log: MemoryBackend) -> None:
    paid = OrderPaid(id=7, user_id="42", total=1)
    plain = Event(channel="user-42", event="plain", data=None)
    async with Broadcaster(log=log) as broadcaster:
        await broadcaster.publish_many([paid, plain])
    assert [event.event for event in await events_of(log, "user-42")] == ["order.paid", "plain"]


async def test_bridge_publishes_objects() -> None:
    bridge = Bridge(Settings(backend="memory"), dev=True)
    async with bridge:
        receipt = await bridge.publish(OrderPaid(id=7, user_id="42", total=1))
        assert receipt.position
        assert receipt.position.offset == 1
        assert len(await bridge.publish_many([OrderPaid(id=8, user_id="42", total=1)])) == 1


def test_blocking_broadcaster_publishes_objects(log: MemoryBackend) -> None:
    with BlockingBroadcaster(lambda: Broadcaster(log=log)) as broadcaster:
        paid = OrderPaid(id=7, user_id="42", total=1)
        assert broadcaster.publish(paid).position
        assert broadcaster.publish_many([paid])[0].position
        broadcaster.publish_in_background([paid])


@pytest.mark.parametrize(
    ("kind", "value", "channel"),
    [
        (str, "a-b", "job.a-b"),
        (int, 7, "job.7"),
        (UUID, UUID(int=1), f"job.{UUID(int=1)}"),
        (Colour, Colour.RED, "job.red"),
        (Number, Number(3), "job.3"),
        (int | str, "x", "job.x"),
    ],
)
async def test_field_of_each_textual_type_fills_a_template(
    log: MemoryBackend, kind: Any, value: Any, channel: str
) -> None:
    made = events.define("made", on="job.{job}")(model(job=kind))
    async with Broadcaster(log=log) as broadcaster:
        await broadcaster.publish(made(job=value))
    assert len(await events_of(log, channel)) == 1


@pytest.mark.parametrize("value", ["a.b", "", "a b", "a/b", "{x}"])
async def test_value_that_would_change_the_channel_is_refused(
    log: MemoryBackend, value: str
) -> None:
    made = events.define("made", on="job.{job}")(model(job=str))
    async with Broadcaster(log=log) as broadcaster:
        with pytest.raises(InvalidEventError, match=r"'made' has no channel: job\.\{job\}"):
            await broadcaster.publish(made(job=value))


async def test_user_without_an_id_is_refused(log: MemoryBackend) -> None:
    async with Broadcaster(log=log) as broadcaster:
        with pytest.raises(InvalidIdentityError):
            await broadcaster.publish(OrderPaid(id=7, user_id="", total=1))


async def test_long_key_is_refused(log: MemoryBackend) -> None:
    made = events.define("made", on="job", key="k-{job}")(model(job=str))
    async with Broadcaster(log=log) as broadcaster:
        with pytest.raises(InvalidEventError, match="'made' has the bad key 'k-x"):
            await broadcaster.publish(made(job="x" * 130))


async def test_changed_field_of_another_type_is_refused_without_its_value(
    log: MemoryBackend,
) -> None:
    paid = OrderPaid(id=7, user_id="42", total=1)
    paid.total = "hush"  # type: ignore[assignment]
    async with Broadcaster(log=log) as broadcaster:
        with pytest.raises(InvalidEventError, match="is not valid: total of OrderPaid") as caught:
            await broadcaster.publish(paid)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("thing", [Event, 7, None, b"user-42"])
async def test_other_objects_are_refused(log: MemoryBackend, thing: Any) -> None:
    async with Broadcaster(log=log) as broadcaster:
        with pytest.raises(InvalidEventError, match="cannot be published: pass a channel"):
            await broadcaster.publish(thing)


async def test_subclass_of_a_declared_class_is_not_declared(log: MemoryBackend) -> None:
    class Special(OrderPaid):
        pass

    async with Broadcaster(log=log) as broadcaster:
        with pytest.raises(InvalidEventError, match="Special cannot be published"):
            await broadcaster.publish(Special(id=7, user_id="42", total=1))


async def test_object_with_a_name_of_its_own_is_refused(log: MemoryBackend) -> None:
    publish: Callable[..., Any] = Broadcaster(log=log).publish
    with pytest.raises(InvalidEventError, match="OrderPaid has its own event, data and key"):
        await publish(OrderPaid(id=7, user_id="42", total=1), "other")


async def test_channel_of_a_text_subclass_is_a_channel(log: MemoryBackend) -> None:
    async with Broadcaster(log=log) as broadcaster:
        await broadcaster.publish(Colour.RED, "painted", {"n": 1}, key="k")
    (event,) = await events_of(log, "red")
    assert (event.event, event.key, event.data) == ("painted", "k", {"n": 1})


@pytest.mark.parametrize(
    ("fields", "arguments", "error"),
    [
        ({"id": int}, {"on": "job.{job}"}, r"Made has no field 'job', which job\.\{job\}"),
        ({"id": int}, {"on": "job", "key": "{job}"}, r"no field 'job'.*use one of id"),
        ({"job": float}, {"on": "job.{job}"}, r"The field 'job' of Made cannot be part"),
        ({"job": bool}, {"on": "job.{job}"}, "without None"),
        ({"job": str | None}, {"on": "job.{job}"}, "without None"),
        ({"job": list[str]}, {"on": "job.{job}"}, "without None"),
        ({"id": int}, {"on": "job {id}"}, "Bad channel pattern"),
        ({"id": int}, {"on": "job.{id!r}"}, "Bad channel pattern"),
        ({"a": int, "b": int}, {"on": "{a}-{b}"}, "Ambiguous channel pattern"),
        ({"id": int}, {"on": "private-{id}"}, "omit 'private-'"),
        ({"id": int}, {"on": "@realtime.{id}"}, "choose another name"),
        ({"id": int}, {"on": "x" * 130}, "Bad channel name"),
        ({"id": int}, {"on": "job", "key": "a-{id"}, "Bad key template"),
        ({"id": int}, {"on": "job", "key": "{}"}, "Bad key template"),
        ({"id": int}, {"on": "job", "key": "{id:>{id}}"}, "Bad key template"),
        ({"id": int}, {"on": "job", "key": "{id.real}"}, "Bad key template"),
        ({"id": int}, {"on": "job", "key": ""}, "Bad key ''"),
        ({"id": int}, {"event": "a\n", "on": "job"}, "Bad event name"),
        ({"id": int}, {"event": "job.done", "on": "job"}, "the library publishes events"),
    ],
)
def test_mistake_in_a_definition_is_an_error(
    fields: dict[str, Any], arguments: dict[str, Any], error: str
) -> None:
    with pytest.raises(ConfigurationError, match=error):
        events.define(**{"event": "made", **arguments})(model(**fields))


def test_name_of_two_classes_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match=r"Other cannot be declared as 'order\.paid'"):
        events.define("order.paid", on="job")(create_model("Other"))


def test_name_of_equal_classes_of_two_modules_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match=r"declared as 'order\.paid' in tests\.shop"):
        events.define("order.paid", on="job")(create_model("OrderPaid", __module__="tests.other"))


def test_class_of_two_names_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match=r"OrderPaid is declared as 'order\.paid'"):
        events.define("order.other", on="job")(OrderPaid)


async def test_undeclared_event_is_refused_by_its_setting(log: MemoryBackend) -> None:
    rule = UndeclaredEvents.from_setting("refuse")
    async with Broadcaster(log=log, undeclared=rule) as broadcaster:
        await broadcaster.publish(OrderPaid(id=7, user_id="42", total=1))
        await broadcaster.publish("user-42", "order.paid", {"id": 7})
        async with broadcaster.job("user-42"):
            pass
        with pytest.raises(InvalidEventError, match=r"'order\.shipped' on user-42 is not"):
            await broadcaster.publish("user-42", "order.shipped")
    names = {event.event for event in await events_of(log, "user-42")}
    assert names == {"order.paid", "job.started", "job.completed"}


async def test_undeclared_event_is_logged_once(
    log: MemoryBackend, caplog: pytest.LogCaptureFixture
) -> None:
    rule = UndeclaredEvents.from_setting("warn")
    with caplog.at_level(logging.WARNING, "realtime_bridge.publishing"):
        async with Broadcaster(log=log, undeclared=rule) as broadcaster:
            for _ in range(3):
                await broadcaster.publish("user-42", "order.shipped")
    assert caplog.messages == ["undeclared event event='order.shipped' channel=user-42"]


async def test_server_checks_its_own_publishes_and_not_those_of_workers() -> None:
    bridge = Bridge(Settings(backend="memory", undeclared_events="refuse"), dev=True)
    worker = Broadcaster.from_settings(Settings(backend="memory"))
    async with bridge, worker:
        with pytest.raises(InvalidEventError, match="is not declared"):
            await bridge.publish("user-42", "order.shipped")
        await worker.publish("user-42", "order.shipped")  # through the server in this process
        await bridge.revoke(user="42")


def test_setting_reaches_the_broadcaster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_BACKEND", "memory")
    monkeypatch.setenv("REALTIME_UNDECLARED_EVENTS", "refuse")
    with (
        BlockingBroadcaster.from_env() as broadcaster,
        pytest.raises(InvalidEventError, match="REALTIME_UNDECLARED_EVENTS=warn"),
    ):
        broadcaster.publish("user-42", "order.shipped")


def test_plain_publish_loads_no_pydantic_and_no_declared_event() -> None:
    loaded = loaded_by("""
import asyncio
from realtime_bridge import Broadcaster
from realtime_bridge_backends.memory import MemoryBackend
async def main():
    async with Broadcaster(log=MemoryBackend()) as broadcaster:
        await broadcaster.publish("user-42", "greeting")
asyncio.run(main())
""")
    assert "realtime_bridge_backends" in loaded
    assert "pydantic" not in loaded
