"""User and client for which a connection or a request acts."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import force_setattr

from realtime_bridge.errors import InvalidIdentityError
from realtime_bridge.model.user import UserId, user_text


class Principal(Struct, frozen=True, kw_only=True, gc=False):
    """User and client for which a connection or a request acts.

    Args:
        user: the user's id: a text, a whole number or a UUID. The attribute is its text.
        client: the client's id: one page load, or one process.
        channels: patterns such as `job.*` that the token grants, in addition to the rules.
        controls: patterns of channels whose streams and jobs the user may control.
        expires: end of the principal's validity: Unix time, in s.
        issued: time of authentication, by the clock of the server that did it: Unix time, in s.
        known_revocation: the latest revocation that this server knew then: Unix time of the log,
            in s. Later revocations apply to the principal; None compares `issued` with them.
        identity: the user's id as given, which the channel rules get.

    Raises:
        InvalidIdentityError: `user` is empty, or of another type.

    """

    user: str
    client: str | None = None
    channels: tuple[str, ...] | None = None
    controls: tuple[str, ...] | None = None
    expires: float = float("inf")
    issued: float = float("inf")
    known_revocation: float | None = None
    identity: Any = None

    def __post_init__(self) -> None:
        text = user_text(self.user)
        if text is None:
            raise InvalidIdentityError("A principal needs the id of a user")
        if self.identity is None:
            force_setattr(self, "identity", self.user)
        force_setattr(self, "user", text)
        for name in ("channels", "controls"):
            if isinstance(patterns := getattr(self, name), str):
                # Its characters would be patterns, and `*` grants every channel.
                force_setattr(self, name, (patterns,))

    if TYPE_CHECKING:  # type checkers derive the arguments from the fields

        def __init__(
            self,
            *,
            user: UserId,
            client: str | None = None,
            channels: tuple[str, ...] | None = None,
            controls: tuple[str, ...] | None = None,
            expires: float = ...,
            issued: float = ...,
            known_revocation: float | None = None,
            identity: UserId | None = None,
        ) -> None: ...


def kind_of(user: object) -> str | None:
    """Return the type of a user's id for a token's claim; None for a text."""
    if isinstance(user, UUID):
        return "uuid"
    return "int" if isinstance(user, int) else None


def identity_of(text: str, kind: object) -> UserId:
    """Return the id of a token's user in its original type.

    Raises:
        ValueError: the text is no id of this type, or the type is unknown.

    """
    if kind is None:
        return text
    if kind == "int":
        return int(text)
    if kind == "uuid":
        return UUID(text)
    raise ValueError(f"unknown type {str(kind)[:20]!r}")
