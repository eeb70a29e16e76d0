"""Members of channels at Ably: the channels that have them, and the claims of a token."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from realtime_bridge.backend.hosted import AuthorizationRequest, describe_members
from realtime_bridge.backend.provider_connection import ProviderMember
from realtime_bridge.model.channel import PRESENCE, is_internal
from realtime_bridge.protocol.wire.provider_names import ProviderNames
from realtime_bridge_backends.ably.tokens import WILDCARD_CLIENT


def present_channels(
    names: ProviderNames, requested: Sequence[str], user: str
) -> Mapping[str, str]:
    """Return the channels whose members are requested, by the names of those members at Ably.

    A user without a client id is not present anywhere.
    """
    if user == WILDCARD_CLIENT:
        return {}
    start = names.encode(PRESENCE)
    channels = {name: name.removeprefix(start) for name in requested if name.startswith(start)}
    return {name: channel for name, channel in channels.items() if not is_internal(channel)}


async def describe_member(
    present: Mapping[str, str], allowed: Collection[str], request: AuthorizationRequest
) -> Mapping[str, Mapping[str, Any]]:
    """Return what the application adds to a user, by the names at Ably; nothing is left out."""
    names = [name for name in allowed if name in present]
    described = await describe_members([present[name] for name in names], request)
    infos = {name: described[present[name]] for name in names}
    return {name: info for name, info in infos.items() if info is not None}


def key_of(message: Any) -> str:
    """Return the key of a member: a user has one for each connection."""
    return hashlib.sha256(f"{message.connection_id}:{message.client_id}".encode()).hexdigest()


def to_member(message: Any) -> ProviderMember:
    """Return the member of one of Ably's presence messages.

    A client writes the data of its presence itself. The information is in the claim of its token,
    which our server signed, and which Ably adds.
    """
    info = _loads((message.extras or {}).get("userClaim"))
    return ProviderMember(key=key_of(message), user=str(message.client_id), info=info)


def _loads(claim: object) -> Mapping[str, Any] | None:
    try:
        info = json.loads(claim) if isinstance(claim, str) else None
    except ValueError:
        return None
    return info if isinstance(info, dict) else None
