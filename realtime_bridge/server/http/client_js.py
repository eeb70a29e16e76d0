"""The browser's client, served from the wheel: no npm needed."""

import hashlib
from functools import cache
from pathlib import Path

from realtime_bridge.server.http.request import HTTPError, Request
from realtime_bridge.server.http.response import Response

FOLDER = Path(__file__).parent.parent / "static"
MAIN = "client.js"


def names() -> list[str]:
    """Return the client's file, and those that it loads on demand."""
    return sorted({MAIN, *(path.name for path in FOLDER.glob("client-*.js"))})


async def script(name: str, request: Request) -> Response:
    """Answer `GET client.js` and the like; a browser that has this very file is told so."""
    body, etag = _bundle(name)
    headers = {"etag": etag, "cache-control": "no-cache", "content-type": "text/javascript"}
    if request.headers.get("if-none-match") == etag:
        return Response(status=304, headers=headers)
    return Response(body=body, headers=headers)


@cache
def _bundle(name: str) -> tuple[bytes, str]:
    try:
        body = (FOLDER / name).read_bytes()
    except OSError as error:
        raise HTTPError(
            404, "not_built", "This checkout has no client.js yet: run `npm run bundle`"
        ) from error
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'
