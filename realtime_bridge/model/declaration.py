"""Declared events: classes of data whose objects know their name, channel and key."""

import re
from collections.abc import Iterable
from itertools import islice
from string import Formatter
from typing import TYPE_CHECKING, Any, Union

from msgspec import Struct

from realtime_bridge.errors import ConfigurationError, InvalidEventError
from realtime_bridge.model.channel import ChannelPattern, check_channel
from realtime_bridge.model.event import MAX_BATCH, Event, create_event
from realtime_bridge.model.names import MAX_LABEL, is_label
from realtime_bridge.model.user import USER_START, user_channel

if TYPE_CHECKING:
    from pydantic import BaseModel

Publication = Union[Event, "BaseModel"]
"""Event, or an object of a class that `realtime_bridge.events.define` declares."""

LIBRARY_NAMES = ("job.", "stream.")
"""Starts of the names of the events that this library publishes itself."""

_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_USER = re.compile(re.escape(USER_START) + r"\{[A-Za-z0-9_]+\}")


class Declaration(Struct, frozen=True):
    """Name, channel and key of a class of events.

    Args:
        event: name of the events.
        on: channel, with the names of fields in braces.
        key: key of the event, in the same form; None: no key.

    """

    event: str
    on: str
    key: str | None

    @property
    def fields(self) -> list[str]:
        """Names of the fields that channel and key are made of, in order."""
        return list(dict.fromkeys((*ChannelPattern(self.on).holes, *_fields(self.key or ""))))

    def check(self) -> None:
        """Check both templates with a sample for each field.

        Raises:
            ConfigurationError: a channel or a key of this form cannot exist.

        """
        samples = dict.fromkeys(self.fields, "1")
        try:
            Event(
                channel=check_channel(self.on.format_map(samples)),
                event=self.event,
                data=None,
                key=None if self.key is None else self.key.format_map(samples),
            )
        except InvalidEventError as error:
            raise ConfigurationError(f"{self.event!r} cannot be declared: {error}") from error
        if self.event.startswith(LIBRARY_NAMES):
            raise ConfigurationError(
                f"{self.event!r} cannot be declared: the library publishes events whose names "
                f"begin with {' or '.join(LIBRARY_NAMES)}; choose another name"
            )

    def channel_of(self, model: object) -> str:
        """Return the channel of an event.

        Raises:
            InvalidEventError: a field has a value that no name of a channel has.
            InvalidIdentityError: the same of a user's id.

        """
        pattern = ChannelPattern(self.on)
        if _USER.fullmatch(self.on):
            return user_channel(getattr(model, pattern.holes[0]))
        texts = {name: _field_text(model, name) for name in pattern.holes}
        channel = self.on.format_map(texts)
        # A dot would make another channel, which a rule for this pattern does not protect.
        if pattern.match(channel) != texts:
            raise InvalidEventError(
                f"{self.event!r} has no channel: {self.on} needs texts of 1 or more channel "
                f"characters without a dot, and the fields are {texts}"
            )
        return channel

    def key_of(self, model: object) -> str | None:
        """Return the key of an event.

        Raises:
            InvalidEventError: the key is not valid.

        """
        if self.key is None:
            return None
        key = self.key.format_map({name: _field_text(model, name) for name in _fields(self.key)})
        if not is_label(key):
            raise InvalidEventError(
                f"{self.event!r} has the bad key {key[:140]!r}: {self.key} has to give 1 to "
                f"{MAX_LABEL} printable characters"
            )
        return key


declarations: dict[type, Declaration] = {}
"""Declarations of this process, by their classes."""

_names: set[str] = set()


def declare(model: type, declaration: Declaration) -> None:
    """Store the declaration of a class; a class that was loaded again replaces itself.

    Raises:
        ConfigurationError: the class, or the name of the event, has another declaration.

    """
    for other, stored in list(declarations.items()):
        if stored.event != declaration.event and other is not model:
            continue
        if other is model or not _is_same_source(other, model):
            raise ConfigurationError(
                f"{model.__qualname__} cannot be declared as {declaration.event!r}: "
                f"{other.__qualname__} is declared as {stored.event!r} in {other.__module__}; "
                "declare each class and each name once"
            )
        del declarations[other]
    declarations[model] = declaration
    _names.add(declaration.event)


def _is_same_source(one: type, other: type) -> bool:
    """Return whether two classes are of one definition, whose module was loaded twice."""
    modules = {one.__module__, other.__module__}
    # A program's first module may be imported again by its own name.
    return one.__qualname__ == other.__qualname__ and (len(modules) == 1 or "__main__" in modules)


def is_declared(event: str) -> bool:
    """Return whether a class declares this name, or the library publishes it."""
    return event in _names or event.startswith(LIBRARY_NAMES)


def declared_event(
    model: Any,
    *,
    id: str | None = None,  # noqa: A002 -- the field's name on the wire
    source: str | None = None,
) -> Event:
    """Return the event of an object whose class is declared.

    Raises:
        InvalidEventError: the class is not declared, or the object cannot be published.
        InvalidIdentityError: the channel's user id is not valid.

    """
    declaration = declarations.get(type(model))
    if declaration is None:
        raise InvalidEventError(
            f"{type(model).__name__} cannot be published: pass a channel and the name of an event, "
            "or an object of a class that realtime_bridge.events.define declares"
        )
    try:
        data = model.model_dump(mode="json", by_alias=True, warnings="error")
    except ValueError as error:
        # Its own words have the values of the fields, which no log may have: only the names pass.
        fields = ", ".join(re.findall(r"field_name='(\w+)'", str(error))) or "a field"
        raise InvalidEventError(
            f"{declaration.event!r} is not valid: {fields} of {type(model).__name__} has a value "
            "of another type; create the object again with valid values"
        ) from None
    channel, key = declaration.channel_of(model), declaration.key_of(model)
    return create_event(channel, declaration.event, data, id, key, source)


def published_event(
    channel: Any,
    event: str | None,
    data: Any,
    *,
    id: str | None,  # noqa: A002 -- the field's name on the wire
    key: str | None,
    source: str | None,
) -> Event:
    """Return the event of the arguments of `publish`, whose first one is no plain text.

    Raises:
        InvalidEventError: the arguments describe no event.

    """
    if isinstance(channel, str):
        return create_event(channel, event, data, id, key, source)  # type: ignore[arg-type]
    if event is not None and type(channel) not in declarations:
        raise InvalidEventError(
            f"The channel is a {type(channel).__name__}: pass its name as text, like 'job.7'"
        )
    if event is not None or data is not None or key is not None:
        raise InvalidEventError(
            f"{type(channel).__name__} has its own event, data and key: pass id and source alone"
        )
    return declared_event(channel, id=id, source=source)


def publication_events(publications: Iterable[Publication]) -> list[Event]:
    """Return the events of a batch, in order; of too many, one more than a batch may have.

    Raises:
        InvalidEventError: as for `declared_event`.

    """
    # One over the limit is an error of its own: an endless iterator would take all memory.
    some = islice(publications, MAX_BATCH + 1)
    return [item if isinstance(item, Event) else declared_event(item) for item in some]


def _field_text(model: object, name: str) -> str:
    """Return a field's value as part of a channel or a key.

    Raises:
        InvalidEventError: the value is no text, whole number, UUID or member of an Enum of these.

    """
    from enum import Enum
    from uuid import UUID

    value = getattr(model, name)
    value = value.value if isinstance(value, Enum) else value
    if isinstance(value, bool) or not isinstance(value, str | int | UUID):
        raise InvalidEventError(
            f"The field {name} of {type(model).__name__} is a {type(value).__name__}, and part of "
            "a channel or a key: use a text, a whole number or a UUID"
        )
    return str(value)


def check_template(text: str) -> None:
    """Check the holes of a key's template.

    Raises:
        ConfigurationError: a brace is open, or has something else than the name of a field.

    """
    try:
        names = _fields(text)
    except ValueError as error:
        raise ConfigurationError(f"Bad key template {text!r}: {error}") from error
    for name in names:
        if not _FIELD.fullmatch(name):
            raise ConfigurationError(
                f"Bad key template {text!r}: write the name of a field in each pair of braces, "
                "like 'order-{id}'"
            )


def _fields(template: str) -> list[str]:
    parts = Formatter().parse(template)
    return [
        f"{name}{f'!{conversion}' if conversion else ''}{f':{form}' if form else ''}"
        for _, name, form, conversion in parts
        if name is not None
    ]
