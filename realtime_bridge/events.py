"""Declared events: a pydantic model for the data of each event of an application.

Example::

    @events.define("order.paid", on="user-{user_id}", key="order-{id}")
    class OrderPaid(BaseModel):
        id: int
        user_id: str
        total: float


    broadcaster.publish(OrderPaid(id=7, user_id="42", total=9.5))
"""

from collections.abc import Callable
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel

from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model.declaration import Declaration, check_template, declare

__all__ = ["define"]

M = TypeVar("M", bound=type[BaseModel])


def define(event: str, *, on: str, key: str | None = None) -> Callable[[M], M]:
    """Declare the decorated model as the data of the events of this name.

    An object of the model can be published as it is. Its channel and key come from its fields,
    and its data has all fields, by their aliases, except those with `Field(exclude=True)`.

    Args:
        event: name of the events, such as `order.paid`.
        on: channel, with the names of fields in braces, as in `bridge.channel`: `user-{user_id}`.
            A value has no dot. `user-{…}` alone is the channel of any user's id; see
            `user_channel`.
        key: key of the event, with the names of fields in braces.

    Raises:
        ConfigurationError: the name is declared already, a template has something else than fields
            of texts, whole numbers or UUIDs, or gives no valid channel or key.

    """

    def decorate(model: M) -> M:
        declaration = Declaration(event, on, key)
        if key is not None:
            check_template(key)
        declaration.check()
        for name in declaration.fields:
            _check_field(model, name, declaration)
        declare(model, declaration)
        return model

    return decorate


def _check_field(model: type[BaseModel], name: str, declaration: Declaration) -> None:
    templates = " and ".join(filter(None, (declaration.on, declaration.key)))
    field = model.model_fields.get(name)
    if field is None:
        known = ", ".join(model.model_fields)
        raise ConfigurationError(
            f"{model.__name__} has no field {name!r}, which {templates} needs: use one of {known}"
        )
    if not _is_text(field.annotation):
        raise ConfigurationError(
            f"The field {name!r} of {model.__name__} cannot be part of {templates}: give it the "
            "type of a text, a whole number, a UUID or an Enum, without None"
        )


def _is_text(annotation: Any) -> bool:
    """Return whether every value of a type is a text, a whole number or a UUID."""
    annotation = getattr(annotation, "__supertype__", annotation)  # of a NewType
    annotation = getattr(annotation, "__value__", annotation)  # of a `type` statement
    if get_origin(annotation) in (Union, UnionType):
        return all(map(_is_text, get_args(annotation)))
    if get_origin(annotation) is Literal:
        return all(_is_text(type(value)) for value in get_args(annotation))
    if not isinstance(annotation, type) or issubclass(annotation, bool | NoneType):
        return False
    if issubclass(annotation, Enum):
        return all(_is_text(type(member.value)) for member in annotation)
    return issubclass(annotation, str | int | UUID)
