"""Latest event of each key of a channel."""

import re
import time

import orjson

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.model.channel import PRESENCE
from realtime_bridge.model.names import is_label
from realtime_bridge.model.page import Page
from realtime_bridge.protocol.wire import messages as wire
from realtime_bridge.server.auth.access import ChannelAccess
from realtime_bridge.server.auth.authenticator import Authenticator
from realtime_bridge.server.auth.channel_budget import ChannelBudget
from realtime_bridge.server.endpoints.folding import folding_log
from realtime_bridge.server.http.request import HTTPError, Request
from realtime_bridge.server.http.response import Response
from realtime_bridge.server.lifecycle.null_log import NOWHERE
from realtime_bridge.server.lifecycle.pipeline import ServerPipeline

_OFFSET = re.compile(r"[0-9]{1,16}")


class LatestEvents:
    """Answers with the latest events.

    Args:
        authenticator: authenticates the requests.
        access: decides who may subscribe to a channel.
        pipeline: the log.
        budget: the channels that each user may still request.

    """

    def __init__(
        self,
        authenticator: Authenticator,
        access: ChannelAccess,
        pipeline: ServerPipeline,
        *,
        budget: ChannelBudget,
    ) -> None:
        self._authenticator = authenticator
        self._access = access
        self._pipeline = pipeline
        self._budget = budget

    async def latest(self, request: Request) -> Response:
        """Answer `GET latest?channel=` with the latest event of each key, and the position.

        With `key`, the answer has the state of that key alone, and all items of its owner.
        """
        principal = await self._authenticator.identify(request)
        channel = request.query_params.get("channel", "")
        after = request.query_params.get("after", "0")
        if not _OFFSET.fullmatch(after):
            raise HTTPError(
                400, "bad_position", f"after={after[:40]!r} is no offset: send a page's last offset"
            )
        self._budget.check(principal.user, 1, time.monotonic())
        if denial := await self._access.decide(principal, channel):
            raise denial.to_error()
        if self._pipeline.members_provider and channel.startswith(PRESENCE):
            return _page(channel, Page(events=(), top=NOWHERE))
        if not self._pipeline.has_log:
            raise HTTPError(404, "no_log", "This server stores no events: set REALTIME_LOG")
        log, key = self._pipeline.log, request.query_params.get("key")
        if key is None:
            page = await backend_call(log, log.latest, channel, after=int(after))
        elif is_label(key):
            folding = folding_log(self._pipeline)
            page = await backend_call(folding, folding.latest, channel, key=key)
        else:
            raise HTTPError(
                400, "bad_key", f"key={key[:40]!r} is no key: send 1 to 128 printable characters"
            )
        return _page(channel, page)


def _page(channel: str, page: Page) -> Response:
    return Response.json(
        {
            "channel": channel,
            "events": orjson.Fragment(wire.encode_events(page.events)),
            "position": page.top.to_json(),
            "more": page.more,
        }
    )
