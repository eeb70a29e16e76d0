"""Construction of a backend from the configuration."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    # Settings load pydantic, which a broadcaster of plain values never needs.
    from realtime_bridge.settings import Settings


class Plugin(ABC):
    """Class of a built-in backend, or of an entry point in `realtime_bridge.backends`.

    A plug-in is also a `Log`, a `Feed` or a `Backend`, or several of them.
    """

    default_logs: ClassVar[tuple[str, ...]] = ()
    """Logs that `REALTIME_LOG=auto` selects with this backend; the first configured one wins.

    With several names and none of them configured, there is no log.
    """

    @classmethod
    @abstractmethod
    def from_settings(cls, settings: "Settings") -> Self:
        """Return the backend that the configuration describes.

        Raises:
            ConfigurationError: a setting is missing or malformed.

        """

    @classmethod
    def is_configured(cls) -> bool:
        """Return whether the environment names this backend's address; a default does not count."""
        return True
