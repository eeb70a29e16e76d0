"""Members of presence channels, in the words of Pusher's clients."""

from collections.abc import Mapping
from typing import Any

import orjson

from realtime_bridge.model.user import user_text
from realtime_bridge.protocol.presence.member_list import (
    MemberList,
    PresenceChange,
    PresentMember,
)
from realtime_bridge.protocol.presence.node_members import MAX_INFO_BYTES
from realtime_bridge.protocol.pusher.events import encode_frame


def read_member(fields: Mapping[str, Any]) -> PresentMember:
    """Return the member that a signed `channel_data` names.

    Raises:
        ValueError: the id or the information is not valid; the text has the reason.

    """
    user, info = user_text(fields.get("user_id")), fields.get("user_info")
    if user is None:
        raise ValueError("channel_data has no user_id")
    if info is not None and not isinstance(info, dict):
        raise ValueError("user_info is not an object: send fields, such as a name")
    if info and (size := len(orjson.dumps(info))) > MAX_INFO_BYTES:
        raise ValueError(f"user_info has {size:,} bytes of JSON: send up to {MAX_INFO_BYTES:,}")
    return PresentMember(user, info)


def describe_members(members: MemberList, own: PresentMember) -> Mapping[str, Any]:
    """Return the data of an accepted subscription; its own user is always among the members.

    pusher-js counts by the ids that it knows. So all ids are listed, and beyond 100 members their
    information is empty.
    """
    infos: dict[str, Any] = {user: {} for user in members.by_user}
    infos |= {one.user: one.info for one in members.members}
    infos[own.user] = own.info
    more = members.count - len(members.by_user)
    return {"presence": {"ids": list(infos), "hash": infos, "count": len(infos) + more}}


def encode_change(name: str, change: PresenceChange) -> bytes:
    """Return the frame of a user who joined or left the channel with Pusher's name."""
    member = change.member
    if change.kind == "left":
        return encode_frame(
            "pusher_internal:member_removed", {"user_id": member.user}, channel=name
        )
    data = {"user_id": member.user, "user_info": member.info}
    return encode_frame("pusher_internal:member_added", data, channel=name)
