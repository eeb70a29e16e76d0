"""Adapter of Pusher's SDK to one shared HTTP session, loaded with the first request."""

from typing import TYPE_CHECKING, Any

from pusher.http import Request

from realtime_bridge.errors import BackendNotInstalledError
from realtime_bridge_backends.pusher.timing import PusherTiming

if TYPE_CHECKING:
    from realtime_bridge_backends.pusher.http import PusherHTTP


class SessionHolder:
    """Holder of the HTTP session, which the clients of the SDK share.

    A process that only signs subscriptions opens none, and loads no HTTP library.
    """

    def __init__(self, timing: PusherTiming) -> None:
        self._timing = timing
        self._http: PusherHTTP | None = None

    def load(self) -> "PusherHTTP":
        """Return the session; the first call loads its library."""
        if self._http is None:
            try:
                from realtime_bridge_backends.pusher.http import PusherHTTP
            except ModuleNotFoundError as error:
                missing = error.name or "?"
                raise BackendNotInstalledError("pusher", missing=missing, extra="pusher") from error
            self._http = PusherHTTP(self._timing)
        return self._http

    async def close(self) -> None:
        """Close the session and its kept connections."""
        if self._http is not None:
            await self._http.close()


class HTTPAdapter:
    """Adapter that the SDK takes as its `backend`: it sends requests over the shared session."""

    def __init__(self, client: Any, *, sessions: SessionHolder) -> None:
        self._client = client
        self._sessions = sessions

    async def send_request(self, request: Request) -> Any:
        """Send a signed request, and return the fields of the answer.

        Raises:
            PublishError: for any error of the SDK or of the network, without the signed URL.

        """
        return await self._sessions.load().send(request, self._client)
