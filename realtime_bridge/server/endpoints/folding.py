"""Log that keeps keys with owners, for the requests that need one."""

from realtime_bridge.backend.log import FoldingLog
from realtime_bridge.server.http.request import HTTPError
from realtime_bridge.server.lifecycle.pipeline import ServerPipeline


def folding_log(pipeline: ServerPipeline) -> FoldingLog:
    """Return the server's log, as one that keeps keys with owners.

    Raises:
        HTTPError: 404, there is no log; 501, the log keeps none.

    """
    log = pipeline.log
    if not pipeline.has_log:
        raise HTTPError(404, "no_log", "This server stores no events: set REALTIME_LOG")
    if not isinstance(log, FoldingLog):
        raise HTTPError(
            501,
            "no_owners",
            f"Streams and keys with owners need another log than {pipeline.log_name}: "
            "set REALTIME_LOG to memory, sqlite, redis or postgres",
        )
    return log
