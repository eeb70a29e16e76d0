"""Application with declared events, for the tests."""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, Field

from realtime_bridge import events


class Currency(StrEnum):
    EUR = "EUR"
    USD = "USD"


class Item(BaseModel):
    sku: str
    count: int = 1


@events.define("order.paid", on="user-{user_id}", key="order-{id}")
class OrderPaid(BaseModel):
    """Order that a customer has paid."""

    id: int
    user_id: str = Field(exclude=True)
    total: float = Field(description="Sum with taxes.")
    currency: Currency = Currency.EUR
    items: list[Item] = []
    coupon: str | None = None
    tags: dict[str, int] = {}
    size: tuple[int, int] = (0, 0)


@events.define("shop closed", on="shop.{shop}")
class ShopClosed(BaseModel):
    shop: Literal["berlin", "paris"]
    until_day: str = Field(alias="untilDay")
