"""Base of logs, feeds and push backends: life cycle and self-check."""

from abc import ABC
from types import TracebackType
from typing import Literal, Self

from msgspec import Struct


class CheckResult(Struct, frozen=True, kw_only=True):
    """Result of one check of `realtime-bridge doctor`.

    Args:
        check: name of the check, such as `log: reachable`.
        status: `ok`, `warning` (it works, but not as it should), or `failed`.
        detail: the observation; never a secret.
        hint: one thing to do; None when there is nothing to do.

    """

    check: str
    status: Literal["ok", "warning", "failed"]
    detail: str
    hint: str | None = None


class Component(ABC):  # noqa: B024 -- subclasses add the abstract methods
    """Part of a deployment that connects or prepares when it is entered, and closes when left.

    A constructor does neither.
    """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    async def check(self) -> list[CheckResult]:
        """Return the state of everything that this component needs; works entered or not.

        An unreachable server is a result, not an error.
        """
        return []
