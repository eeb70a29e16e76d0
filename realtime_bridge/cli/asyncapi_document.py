"""AsyncAPI document of declared events."""

import re
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

from realtime_bridge.cli.event_schemas import EventSchemas
from realtime_bridge.model.channel import ChannelPattern
from realtime_bridge.model.declaration import Declaration

_ABOUT = (
    "Events of this application, as realtime_bridge delivers them. The address is the name of a "
    "channel, and the payload is the data of an event; the message's name is the event's."
)


def asyncapi_document(declarations: Mapping[Any, Declaration]) -> dict[str, Any]:
    """Return the AsyncAPI 3 document of declarations, which are given by their pydantic models."""
    schemas = EventSchemas.of(declarations, "#/components/schemas/{model}")
    ids = _ids(declaration.on for declaration in declarations.values())
    channels: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for model, declaration in declarations.items():
        message = schemas.names[model]
        messages[message] = _message(declaration, message, model.__doc__)
        channel = channels.setdefault(ids[declaration.on], _channel(declaration.on))
        channel["messages"][message] = {"$ref": f"#/components/messages/{message}"}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Events", "version": "1.0.0", "description": _ABOUT},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": {f"send-{name}": _operation(name, channels[name]) for name in channels},
        "components": {"messages": messages, "schemas": schemas.definitions},
    }


def _channel(on: str) -> dict[str, Any]:
    channel: dict[str, Any] = {"address": on, "messages": {}}
    if holes := ChannelPattern(on).holes:
        channel["parameters"] = {hole: {} for hole in holes}
    return channel


def _message(declaration: Declaration, name: str, description: str | None) -> dict[str, Any]:
    payload = {"$ref": f"#/components/schemas/{name}"}
    message = {"name": declaration.event, "title": declaration.event, "payload": payload}
    if description:
        message["description"] = description
    if declaration.key is not None:
        message["x-key"] = declaration.key
    return message


def _operation(name: str, channel: Mapping[str, Any]) -> dict[str, Any]:
    messages = [{"$ref": f"#/channels/{name}/messages/{each}"} for each in channel["messages"]]
    return {"action": "send", "channel": {"$ref": f"#/channels/{name}"}, "messages": messages}


def _ids(patterns: Iterable[str]) -> dict[str, str]:
    """Return the id of each channel, in the characters that a reference has as they are."""
    ids: dict[str, str] = {}
    for pattern in dict.fromkeys(patterns):
        name = first = re.sub(r"[^A-Za-z0-9_.-]", "_", pattern)
        # A number where another pattern has the id: the order of the declarations decides.
        numbers = count(2)
        while name in ids.values():
            name = f"{first}-{next(numbers)}"
        ids[pattern] = name
    return ids
