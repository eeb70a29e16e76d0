"""Place of one connection of Pusher's protocol among those that are counted."""

from realtime_bridge.server.pusher.door import PusherDoor
from realtime_bridge.server.registry import ConnectionRegistry


class Seat:
    """Place of one connection, which is counted once: by the most that its client has proved.

    It begins among the anonymous sockets of its address, goes on to those that the application
    signed without a user, and then to the connections of a user.

    Args:
        door: counts the sockets of each address.
        registry: counts the connections of each user.

    """

    __slots__ = ("_door", "_is_anonymous", "_is_signed", "_registry", "origin", "user")

    def __init__(self, door: PusherDoor, registry: ConnectionRegistry) -> None:
        self.origin: str = ""
        """Address of the client, whatever it proves."""
        self.user: str | None = None
        """User among whose connections this one counts: of a sign-in or of a presence channel."""
        self._door, self._registry = door, registry
        self._is_anonymous = self._is_signed = False

    def begin(self, address: str) -> None:
        """Begin as an anonymous socket of an address, which the door has counted already."""
        self.origin, self._is_anonymous = address, True

    def take_signed(self) -> bool:
        """Count as a signed socket, unless a user is known; return whether there is room."""
        if self.user is None and not self._is_signed:
            if not self._door.acquire_signed(self.origin):
                return False
            self.release()
            self._is_signed = True
        return True

    def take_user(self, user: str) -> bool:
        """Count among the connections of a user; return whether there is room."""
        if self.user != user:
            if not self._registry.acquire_slot(user):
                return False
            self.release()
            self.user = user
        return True

    def release(self) -> None:
        """Count no longer."""
        if self.user is not None:
            self._registry.release_slot(self.user)
        if self._is_signed:
            self._door.release_signed(self.origin)
        if self._is_anonymous:
            self._door.release_anonymous(self.origin)
        self.user, self._is_signed, self._is_anonymous = None, False, False
