"""Declared events, read by mypy and pyright and never run: each `ignore` is an error of theirs."""

from typing import assert_type

from pydantic import BaseModel

from realtime_bridge import BlockingBroadcaster, Broadcaster, Event, Receipt, events
from realtime_bridge.server import Bridge


@events.define("order.paid", on="user-{user_id}", key="order-{id}")
class OrderPaid(BaseModel):
    id: int
    user_id: str
    total: float


async def publish(broadcaster: Broadcaster, bridge: Bridge, blocking: BlockingBroadcaster) -> None:
    paid = OrderPaid(id=7, user_id="42", total=9.5)
    assert_type(paid, OrderPaid)
    assert_type(await broadcaster.publish(paid, id="one"), Receipt)
    assert_type(await bridge.publish(paid, source="c_1"), Receipt)
    assert_type(blocking.publish(paid, transaction=None), Receipt)
    plain = Event(channel="user-42", event="plain", data=None)
    assert_type(await broadcaster.publish_many([paid, plain]), list[Receipt])
    blocking.publish_in_background([paid])


async def publish_wrongly(broadcaster: Broadcaster, blocking: BlockingBroadcaster) -> None:
    await broadcaster.publish(OrderPaid(id=7, user_id="42", totl=9.5))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    blocking.publish(OrderPaid(id="7", user_id="42", total=9.5))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await broadcaster.publish(OrderPaid(id=7, user_id="42"))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    paid = OrderPaid(id=7, user_id="42", total=9.5)
    await broadcaster.publish(paid, "order.paid")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    await broadcaster.publish(paid, key="order-7")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await broadcaster.publish("user-42")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
