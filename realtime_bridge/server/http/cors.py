"""Cross-origin resource sharing (CORS): response headers and preflight requests."""

from realtime_bridge.server.http.origins import Origins
from realtime_bridge.server.http.request import Request
from realtime_bridge.server.http.response import Response

MAX_AGE_SECONDS = 600
"""Time a browser caches a preflight's response, in s; Chromium's own limit is 7 200 s."""


class CORSPolicy:
    """Policy for pages of other origins: only the listed origins may connect.

    Args:
        origins: the listed origins.

    """

    def __init__(self, origins: Origins) -> None:
        self._origins = origins

    def permit(self, request: Request, response: Response) -> None:
        """Add the headers that let a page of a listed origin read the response."""
        origin = request.headers.get("origin")
        if origin and self._origins.lists(origin):
            response.headers["access-control-allow-origin"] = origin
            # With credentials a browser rejects `*`, so the header names this request's origin.
            response.headers["access-control-allow-credentials"] = "true"
            # A cache must not serve this response to a page of another origin.
            response.headers["vary"] = "origin"

    def preflight(self, request: Request) -> Response:
        """Answer a browser's preflight request.

        Raises:
            HTTPError: 403, the origin is not listed.

        """
        origin = request.headers.get("origin")
        if not self._origins.lists(origin):
            raise self._origins.refusal(origin or "", request.headers.get("host"))
        return Response(
            status=204,
            headers={
                "access-control-allow-methods": "GET, POST",
                "access-control-allow-headers": "authorization, content-type, realtime-token",
                "access-control-max-age": str(MAX_AGE_SECONDS),
            },
        )
