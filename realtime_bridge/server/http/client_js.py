"""JavaScript client for browsers, served from the installed package."""

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from realtime_bridge.server.http.request import HTTPError, Request
from realtime_bridge.server.http.response import Response

FOLDER = Path(__file__).parent.parent / "static"
MAIN = "client.js"


@cache
def names() -> Sequence[str]:
    """Return the names of the client's main file and of the files it loads on demand."""
    return sorted({MAIN, *(path.name for path in FOLDER.glob("client-*.js"))})


async def script(name: str, request: Request) -> Response:
    """Answer `GET client.js` and the like, with 304 if the browser's copy is current."""
    body, etag = _bundle(name)
    # `no-cache` lets a browser store the file but ask each time: its URL has no version.
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
            404, "not_built", f"{name} is not built in this checkout: run `npm run bundle`"
        ) from error
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'
