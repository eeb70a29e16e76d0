"""Responses to requests that wait for nothing, past uvicorn's parser and its task."""

from collections.abc import Callable
from functools import partial

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from realtime_bridge.server.connections.fast.plain_request import PlainRequest, read_post
from realtime_bridge.server.context import AnswerAtOnce, ServerContext
from realtime_bridge.server.http.response import Response


def find_answer(context: ServerContext, data: bytes) -> Callable[[], Response | None] | None:
    """Return a function that answers a request, or returns None where the answer has to wait.

    Args:
        context: the parts of the server.
        data: the bytes of a client, from the start of a request; other requests have no function.

    """
    plain = read_post(data)
    answer = context.fast_requests.get(plain.path) if plain else None
    return partial(_respond, answer, plain) if plain and answer else None


def _respond(answer: AnswerAtOnce, plain: PlainRequest) -> Response | None:
    try:
        return answer(plain.request, plain.body)
    except Exception:
        return None  # the usual way answers with the error, and reports it


def serves_alone(http: HttpToolsProtocol, context: ServerContext) -> bool:
    """Return whether the bridge is the whole application, and nothing else sees a request.

    An application around it may have middleware, and an access log has all requests.
    """
    app: object = http.app
    if isinstance(app, ProxyHeadersMiddleware):
        app = app.app
    return (
        app is context.application
        and not (http.config.access_log or http.root_path)
        and http.limit_concurrency is None
    )
