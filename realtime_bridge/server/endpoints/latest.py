"""Latest event of each key of a channel."""

import logging
import re

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.protocol.wire import messages as wire
from realtime_bridge.server.auth.authenticator import Authenticator
from realtime_bridge.server.auth.rules import ChannelAccess
from realtime_bridge.server.auth.tokens import Principal
from realtime_bridge.server.http.request import HTTPError, Request
from realtime_bridge.server.http.requested_positions import read_channel
from realtime_bridge.server.http.response import Response
from realtime_bridge.server.lifecycle.pipeline import ServerPipeline

_OFFSET = re.compile(r"[0-9]{1,16}")

_logger = logging.getLogger("realtime_bridge.server")


class LatestEvents:
    """Answers with the latest events.

    Args:
        authenticator: authenticates the requests.
        access: decides who may subscribe to a channel.
        pipeline: the log.

    """

    def __init__(
        self, authenticator: Authenticator, access: ChannelAccess, pipeline: ServerPipeline
    ) -> None:
        self._authenticator = authenticator
        self._access = access
        self._pipeline = pipeline

    async def latest(self, request: Request) -> Response:
        """Answer `GET latest?channel=` with the latest event of each key, and the position."""
        principal = await self._authenticator.identify(request)
        channel = read_channel(request.query_params.get("channel", ""))
        after = request.query_params.get("after", "0")
        if not _OFFSET.fullmatch(after):
            raise HTTPError(
                400, "bad_position", f"after={after[:40]!r} is no offset: send a page's last offset"
            )
        await self._require_access(principal, channel)
        if not self._pipeline.has_log:
            raise HTTPError(404, "no_log", "This server stores no events: set REALTIME_LOG")
        log = self._pipeline.log
        page = await backend_call(log, log.latest, channel, after=int(after))
        return Response.json(
            {
                "channel": channel,
                "events": wire.encode_events(page.events),
                "position": page.top.to_json(),
                "more": page.more,
            }
        )

    async def _require_access(self, principal: Principal, channel: str) -> None:
        try:
            allowed = await self._access.allow(principal, channel)
        except Exception as error:
            _logger.exception("channel rule failed: channel=%s", channel)
            raise HTTPError(
                500, "rule_failed", f"The rule of {channel} failed: try again"
            ) from error
        if not allowed:
            raise HTTPError(
                403, "forbidden", f"{principal.user} may not subscribe to {channel}: check its rule"
            )
