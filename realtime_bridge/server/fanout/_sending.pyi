from collections.abc import Iterable

from realtime_bridge.server.fanout.sending import WriteTarget

def send_all(targets: Iterable[WriteTarget], data: bytes) -> list[tuple[int, int]]: ...
