"""Real-time events for web applications: published once, delivered in order and without gaps."""

TYPE_CHECKING = False  # type checkers take it for true; importing `typing` takes 5 ms

if TYPE_CHECKING:
    from realtime_bridge.errors import AnswerTimeoutError as AnswerTimeoutError
    from realtime_bridge.errors import BackendAuthError as BackendAuthError
    from realtime_bridge.errors import BackendNotFoundError as BackendNotFoundError
    from realtime_bridge.errors import BackendNotInstalledError as BackendNotInstalledError
    from realtime_bridge.errors import BackendUnavailableError as BackendUnavailableError
    from realtime_bridge.errors import ConfigurationError as ConfigurationError
    from realtime_bridge.errors import ExtraNotInstalledError as ExtraNotInstalledError
    from realtime_bridge.errors import InvalidEventError as InvalidEventError
    from realtime_bridge.errors import InvalidIdentityError as InvalidIdentityError
    from realtime_bridge.errors import JobCancelledError as JobCancelledError
    from realtime_bridge.errors import JobSupersededError as JobSupersededError
    from realtime_bridge.errors import KeyOwnedError as KeyOwnedError
    from realtime_bridge.errors import PublishError as PublishError
    from realtime_bridge.errors import RateLimitedError as RateLimitedError
    from realtime_bridge.errors import RealtimeError as RealtimeError
    from realtime_bridge.errors import StreamError as StreamError
    from realtime_bridge.errors import StreamFullError as StreamFullError
    from realtime_bridge.errors import StreamStoppedError as StreamStoppedError
    from realtime_bridge.errors import StreamSupersededError as StreamSupersededError
    from realtime_bridge.model.event import Event as Event
    from realtime_bridge.model.position import Position as Position
    from realtime_bridge.model.receipt import Receipt as Receipt
    from realtime_bridge.model.user import user_channel as user_channel
    from realtime_bridge.publishing.blocking import BlockingBroadcaster as BlockingBroadcaster
    from realtime_bridge.publishing.broadcaster import Broadcaster as Broadcaster

__version__ = "0.1.0"

_HOMES = {
    "Receipt": "model.receipt",
    "BlockingBroadcaster": "publishing.blocking",
    "Broadcaster": "publishing.broadcaster",
    "BackendAuthError": "errors",
    "BackendNotFoundError": "errors",
    "BackendNotInstalledError": "errors",
    "BackendUnavailableError": "errors",
    "ConfigurationError": "errors",
    "ExtraNotInstalledError": "errors",
    "InvalidEventError": "errors",
    "InvalidIdentityError": "errors",
    "PublishError": "errors",
    "RateLimitedError": "errors",
    "RealtimeError": "errors",
    "AnswerTimeoutError": "errors",
    "JobCancelledError": "errors",
    "JobSupersededError": "errors",
    "KeyOwnedError": "errors",
    "StreamError": "errors",
    "StreamFullError": "errors",
    "StreamStoppedError": "errors",
    "StreamSupersededError": "errors",
    "Event": "model.event",
    "Position": "model.position",
    "user_channel": "model.user",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 -- derived from the table above


def __getattr__(name: str) -> object:
    """Import a public name on first use: the package alone must load in no time."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
