"""What a browser needs to hear before a page of another origin may talk to us (CORS)."""

from collections.abc import Sequence

from realtime_bridge.server.http.request import HTTPError, Request
from realtime_bridge.server.http.response import Response

MAX_AGE_SECONDS = 600


class CORSPolicy:
    """The pages of other hosts that may connect: those the operator listed, and no others."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = allowed

    def permit(self, request: Request, response: Response) -> None:
        """Tell the browser that a page of a listed origin may read the response."""
        origin = request.headers.get("origin")
        if origin in self._allowed:
            response.headers["access-control-allow-origin"] = origin or ""
            response.headers["access-control-allow-credentials"] = "true"
            response.headers["vary"] = "origin"

    def preflight(self, request: Request) -> Response:
        """Answer the browser's question whether it may ask.

        Raises:
            HTTPError: 403, it may not.

        """
        if request.headers.get("origin") not in self._allowed:
            raise HTTPError(403, "bad_origin", "Name the page's origin in REALTIME_ORIGINS")
        return Response(
            status=204,
            headers={
                "access-control-allow-methods": "GET, POST",
                "access-control-allow-headers": "authorization, content-type",
                "access-control-max-age": str(MAX_AGE_SECONDS),
            },
        )
