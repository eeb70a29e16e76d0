from collections.abc import Iterable

from realtime_bridge.server.fanout.sending import WriteTarget

def send_all(outlets: Iterable[WriteTarget], ready: bytes) -> list[tuple[int, int]]: ...
