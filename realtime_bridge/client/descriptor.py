"""What the server tells a client at run time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from realtime_bridge.protocol.client.commands import Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """Where and how to listen.

    Args:
        token: what to connect with.
        provider: who delivers; `websocket` is the server itself.
        options: what that provider's SDK has to know.
        logged: whether there is a log, and with it the promise.
        auth: where the provider's client asks for permission, relative to `connect`.

    """

    token: str | None = None
    provider: str = "websocket"
    options: Mapping[str, Any] = field(default_factory=dict)
    logged: bool = True
    auth: str = ""

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> "tuple[Descriptor, Terms]":
        """Read the answer to `connect`: for us, and for the machine.

        Raises:
            KeyError, TypeError: it is none.

        """
        described = cls(
            token=fields["token"],
            provider=fields.get("provider", "websocket"),
            options=fields.get("options") or {},
            logged=fields.get("guarantee") != "signal",
            auth=fields["urls"].get("auth", "") if "urls" in fields else "",
        )
        return described, _terms(fields)


def _terms(fields: Mapping[str, Any]) -> Terms:
    max_age = fields["max_age"]
    return Terms(
        mode=fields["mode"],
        heartbeat=round(fields["heartbeat"] * 1_000),
        max_age=None if max_age is None else round(max_age * 1_000),
        generation=fields["generation"],
        expires=round(fields["expires"] * 1_000),
    )
