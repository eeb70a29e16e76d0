"""Revocation of access at hosted providers, to which clients are connected."""

import asyncio
import logging
from collections.abc import Sequence

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.backend.hosted import HostedBackend
from realtime_bridge.errors import PublishError
from realtime_bridge.model.event import Event
from realtime_bridge.server.auth.revocations import Revocation, control_channel

REVOKED = "@realtime.revoked"
"""Name of the events at which clients ask the server whether they still have access."""

CALL_SECONDS = 5.0
"""Time limit of the calls to one provider."""

_logger = logging.getLogger("realtime_bridge.server")


async def revoke_at_providers(
    providers: Sequence[HostedBackend], revocation: Revocation
) -> tuple[str, ...]:
    """End access at each provider; return a sentence for each access that remains.

    Clients of this library learn of the revocation at once, and end by themselves. The provider
    ends the connections of other programs, as far as it can.
    """
    remaining = await asyncio.gather(*(_revoke(provider, revocation) for provider in providers))
    return tuple(text for texts in remaining for text in texts)


async def _revoke(provider: HostedBackend, revocation: Revocation) -> Sequence[str]:
    user, channel = revocation.user, revocation.channel
    announced = control_channel(user) if user is not None else channel
    assert announced is not None
    try:
        async with asyncio.timeout(CALL_SECONDS):
            # Without a position: clients look at its name alone.
            event = Event.internal(announced, REVOKED, b"null")
            await backend_call(provider, provider.push, [event])
            return await backend_call(provider, provider.revoke, user, channel)
    except (PublishError, TimeoutError) as error:
        reason = str(error) or f"no answer in {CALL_SECONDS:g} s"
        _logger.warning("revocation failed provider=%s error=%r", provider, reason)
        remaining = "Clients of this library end within 35 s, other programs keep their channels"
        return [f"{provider}: the revocation failed ({reason}). {remaining}: revoke again"]
