"""Members of a channel, as a client sees them."""

import asyncio

from realtime_bridge.client import PresenceReader
from tests.client.servers import TIMEOUT


async def until(presence: PresenceReader, *users: str) -> list[tuple[str, str]]:
    """Wait until these are the members, and return the changes."""
    changes: list[tuple[str, str]] = []
    async with asyncio.timeout(TIMEOUT):
        while {member.user for member in presence.members} != set(users):
            change = await anext(presence)
            changes.append((change.kind, change.member.user))
    return changes
