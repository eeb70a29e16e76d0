"""The browser's client, served from the wheel: no npm needed."""

import hashlib
from functools import cache
from pathlib import Path

from realtime_bridge.server.http import HTTPError, Request, Response

BUNDLE = Path(__file__).parent / "static" / "client.js"


async def client_script(request: Request) -> Response:
    """Answer `GET client.js`; a browser that has this very file is told so."""
    body, etag = _bundle()
    headers = {"etag": etag, "cache-control": "no-cache", "content-type": "text/javascript"}
    if request.headers.get("if-none-match") == etag:
        return Response(status=304, headers=headers)
    return Response(body=body, headers=headers)


@cache
def _bundle() -> tuple[bytes, str]:
    try:
        body = BUNDLE.read_bytes()
    except OSError as error:
        raise HTTPError(
            404, "not_built", "This checkout has no client.js yet: run `npm run bundle`"
        ) from error
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'
