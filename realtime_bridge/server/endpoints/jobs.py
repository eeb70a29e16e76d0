"""Requests of pages to jobs: cancel, and answer."""

import time
from typing import Any

from realtime_bridge.errors import InvalidEventError
from realtime_bridge.jobs.control import JobReply, check_answer
from realtime_bridge.model.names import is_label
from realtime_bridge.server.auth.principal import Principal
from realtime_bridge.server.endpoints.folding import folding_log
from realtime_bridge.server.http.request import HTTPError, Request
from realtime_bridge.server.http.response import Response
from realtime_bridge.server.jobs import ServerJobs
from realtime_bridge.server.lifecycle.pipeline import ServerPipeline
from realtime_bridge.server.services import ConnectionServices

_MESSAGES = {
    "unknown_job": "No job {job!r} on this channel",
    "ended": "Job {job!r} is {state} already",
    "not_cancellable": "Job {job!r} cannot be cancelled: start it with `cancellable=True`",
    "answered": "The question of job {job!r} has an answer already",
    "no_question": "Job {job!r} does not ask this question now",
    "not_a_choice": "The answer is none of the choices: send one of them",
}
_STATUSES = {"unknown_job": 404, "not_a_choice": 400}
"""Statuses of refusals; the others are conflicts with the job's state."""


class JobRequests:
    """Endpoints of jobs.

    Args:
        services: the parts of the server.
        pipeline: the log.
        jobs: the jobs.

    """

    def __init__(
        self, services: ConnectionServices, pipeline: ServerPipeline, jobs: ServerJobs
    ) -> None:
        self._services = services
        self._pipeline = pipeline
        self._jobs = jobs

    async def cancel(self, request: Request) -> Response:
        """Answer `POST job/cancel {channel, job, reason?}`.

        Raises:
            HTTPError: 400, a field is malformed; 403, the user may not control the channel; 404,
                there is no such job; 409, it has ended, or cannot be cancelled.

        """
        principal, body = await self._authorize(request)
        channel, job = body["channel"], _label(body, "job")
        reason = body.get("reason")
        if reason is not None and not isinstance(reason, str):
            raise HTTPError(400, "bad_reason", "The reason is no text: send a text, or omit it")
        reply = await self._jobs.cancel(channel, job, by=principal.user, reason=reason)
        return _response(reply, job, accepted=200 if reply.code == "cancelled" else 202)

    async def answer(self, request: Request) -> Response:
        """Answer `POST job/answer {channel, job, question, value}`.

        Raises:
            HTTPError: 400, a field is malformed, or the value is none of the choices; 403, the
                user may not control the channel; 404, there is no such job; 409, the question is
                answered, is not asked now, or the job has ended.

        """
        principal, body = await self._authorize(request)
        channel, job, question = body["channel"], _label(body, "job"), _label(body, "question")
        if "value" not in body:
            raise HTTPError(400, "bad_value", "The answer has no value: send any JSON value")
        try:
            check_answer(body["value"])
        except InvalidEventError as error:
            raise HTTPError(400, "bad_value", str(error)) from error
        reply = await self._jobs.answer(channel, job, question, body["value"], by=principal.user)
        return _response(reply, job, accepted=202)

    async def _authorize(self, request: Request) -> tuple[Principal, dict[str, Any]]:
        """Return the user, who may control the channel, and the body."""
        services, body = self._services, await request.json()
        principal = await services.authenticator.identify(request)
        services.budget.check(principal.user, 1, time.monotonic())
        await services.access.require_control(principal, body.get("channel", ""))
        folding_log(self._pipeline)  # for its error
        return principal, body


def _response(reply: JobReply, job: str, *, accepted: int) -> Response:
    if reply.accepted:
        return Response.json({"state": reply.state}, status=accepted)
    message = _MESSAGES[reply.code].format(job=job[:80], state=reply.state)
    raise HTTPError(_STATUSES.get(reply.code, 409), reply.code, message, state=reply.state)


def _label(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not is_label(value):
        raise HTTPError(400, f"bad_{name}", f"{name} is no text of 1 to 128 printable characters")
    return value
