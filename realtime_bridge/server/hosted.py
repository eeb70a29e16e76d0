"""What a hosted provider's own client asks of us: whether a user may listen."""

import time
from functools import partial

from realtime_bridge import identifiers
from realtime_bridge.backend import Hosted, Visitor
from realtime_bridge.errors import AuthRequestError
from realtime_bridge.server.auth import TOKEN_SECONDS, Principal
from realtime_bridge.server.engine import Engine
from realtime_bridge.server.http import HTTPError, Request, Response


async def authorize(engine: Engine, hosted: Hosted, request: Request) -> Response:
    """Answer `POST auth/{provider}` by the same rules as everything else."""
    principal = await engine.identify(request)
    fields = await request.form()
    try:
        answer = await hosted.authorize(fields, _visitor(engine, principal))
    except AuthRequestError as error:
        raise HTTPError(400, "bad_request", str(error)) from error
    if answer is None:
        raise HTTPError(403, "forbidden", f"{principal.user} may not listen to that")
    return Response.json(answer)


def _visitor(engine: Engine, principal: Principal) -> Visitor:
    return Visitor(
        user=principal.user,
        client=principal.client or identifiers.client_id(),
        seconds=min(TOKEN_SECONDS, max(0.0, principal.expires - time.time())),
        allow=partial(engine.allow, principal),
    )
