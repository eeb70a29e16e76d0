from collections.abc import Iterable

from realtime_bridge.server.sending import Outlet

def send_all(outlets: Iterable[Outlet], ready: bytes) -> list[tuple[int, int]]: ...
