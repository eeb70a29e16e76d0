"""Checker of background work: the supervisor starts each task and thread of the library.

A task that something else starts can end unseen, by an exception that was not expected.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
STARTERS = {"create_task", "ensure_future", "TaskGroup", "Thread", "start_native_thread"}
INSTEAD = "Supervisor of realtime_bridge/backend/supervisor.py, or a thread of its neighbours"

# Files, and why they start tasks themselves.
EXEMPT = {
    "realtime_bridge/backend/supervisor.py": "the supervisor itself",
    "realtime_bridge/backend/loop_thread.py": "a thread that runs its loop again after any end",
    "realtime_bridge/backend/native_threads.py": "the start of real threads; a future has the end",
    "realtime_bridge/backend/repeating_thread.py": "a thread that repeats its work after any end",
    "realtime_bridge/publishing/broadcaster_thread.py": "a future carries each error to the caller",
    "realtime_bridge/server/endpoints/poll.py": "a poll waits for its group, and gets its error",
    "realtime_bridge/server/connections/asgi.py": "any end of a pump ends its connection",
    "realtime_bridge/server/endpoints/event_source.py": "any end of a pump ends its response",
    "realtime_bridge/server/endpoints/stream_reader.py": "any end of a pump ends its response",
    "realtime_bridge/cli/relay.py": "the command waits for its task, and raises its error",
    "realtime_bridge/client/hybrid.py": "the iterator raises the error of the client's task",
    "realtime_bridge/client/transport_manager.py": "its group is the client's task",
    "realtime_bridge/client/hosted_transport.py": "any error of the group ends the transport",
    "realtime_bridge/client/sse_transport.py": "any end of the task ends the transport",
    "realtime_bridge/client/websocket_transport.py": "any end of the task ends the transport",
    "backends/realtime_bridge_backends/pusher/connection.py": "its end ends the connection",
    "backends/realtime_bridge_backends/sqlite/threads.py": "a future carries each error to its job",
    "realtime_bridge/testing/": "stand-ins and proxies, whose tests fail with them",
}


def problems(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the line and the description of each start of a task or thread."""
    for node in ast.walk(module):
        match node:
            case ast.Attribute(attr=name, lineno=line) | ast.Name(id=name, lineno=line):
                names = [name]
            case ast.ImportFrom(names=aliases, lineno=line):
                names = [alias.name for alias in aliases]
            case _:
                continue
        yield from ((line, f"{name}: use {INSTEAD}") for name in names if name in STARTERS)


def main() -> int:
    """Print each problem, and return 1 where there are problems."""
    command = ["git", "-C", str(ROOT), "ls-files", "--", "realtime_bridge/*.py", "backends/*.py"]
    failed = False
    for name in sys.argv[1:] or subprocess.check_output(command, text=True).splitlines():
        if name.startswith(tuple(EXEMPT)):
            continue
        module = ast.parse((ROOT / name).read_text("utf-8"))
        for number, problem in sorted(set(problems(module))):
            print(f"{name}:{number}: {problem}")
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
