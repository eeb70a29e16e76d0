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
        response.headers.update(self.headers(request.headers.get("origin")))

    def headers(self, origin: str | None) -> dict[str, str]:
        """Return the headers that let a page of this origin read a response, if it is listed."""
        if not origin or not self._origins.lists(origin):
            return {}
        return {
            "access-control-allow-origin": origin,
            # With credentials a browser rejects `*`, so the header names this request's origin.
            "access-control-allow-credentials": "true",
            # Without it a page cannot read for how long a refused request has to wait.
            "access-control-expose-headers": "retry-after",
            # A cache must not serve this response to a page of another origin.
            "vary": "origin",
        }

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
