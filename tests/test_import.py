"""Modules that an import loads: a worker loads no library that it does not use."""

import subprocess
import sys

import pytest

from realtime_bridge.backend.plugins import BUILT_IN

HEAVY = {
    "pydantic", "pydantic_settings", "dotenv", "aiohttp", "jwt", "websockets",
    "redis", "psycopg", "pusher", "ably",
    "uvicorn", "starlette", "typer", "rich", "pytest", "sqlite3",
}  # fmt: skip


def printed_by(program: str) -> set[str]:
    """Return the words that a fresh interpreter prints as it runs `program`."""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    return set(done.stdout.split())


def loaded_by(program: str) -> set[str]:
    """Return the top-level modules in a fresh interpreter that ran `program`."""
    modules = printed_by(f"{program}\nimport sys; print(*sys.modules)")
    return {name.partition(".")[0] for name in modules}


def test_package_alone_loads_no_library() -> None:
    loaded = loaded_by("import realtime_bridge")
    assert "realtime_bridge" in loaded
    assert not loaded & (HEAVY | {"asyncio", "msgspec", "orjson"})


def test_public_names_load_no_heavy_library_and_no_backend() -> None:
    loaded = loaded_by("from realtime_bridge import *")
    assert {"asyncio", "msgspec", "orjson"} <= loaded
    assert not loaded & (HEAVY | {"realtime_bridge_backends"})


@pytest.mark.parametrize("module", ["publishing.history", "client.reducer", "backoff"])
def test_protocol_loads_no_heavy_library(module: str) -> None:
    loaded = loaded_by(f"import realtime_bridge.protocol.{module}")
    assert not loaded & (HEAVY | {"asyncio", "realtime_bridge_backends"})


def test_blocking_broadcaster_loads_no_settings_before_a_publish() -> None:
    loaded = loaded_by("from realtime_bridge import BlockingBroadcaster as B; B.from_env()")
    assert not loaded & HEAVY


def test_job_of_a_forked_worker_loads_no_library_after_its_parent_did() -> None:
    program = """
import os, sys
os.environ |= {"REALTIME_BACKEND": "redis", "REALTIME_REDIS_URL": "redis://127.0.0.1:1/0"}
from realtime_bridge import BlockingBroadcaster
broadcaster = BlockingBroadcaster.from_env()
broadcaster.load()
assert {"pydantic", "redis"} <= set(sys.modules)
if not os.fork():
    loaded = set(sys.modules)
    broadcaster.job("user-42").report("started")
    print(*(set(sys.modules) - loaded), flush=True)
    os._exit(0)
os.wait()
"""
    loaded = {name for name in printed_by(program) if not name.startswith("realtime_bridge.")}
    assert loaded <= {"secrets"}


def test_worker_without_a_path_loads_no_sqlite() -> None:
    loaded = loaded_by("from realtime_bridge import Broadcaster as B; B.from_env()")
    assert "websockets" in loaded
    assert "sqlite3" not in loaded


def test_plain_values_load_no_pydantic() -> None:
    program = """
from realtime_bridge import Broadcaster
from realtime_bridge_backends.pusher import PusherBackend
Broadcaster(backend=PusherBackend("1", "key", "secret"))
"""
    assert not loaded_by(program) & {"pydantic", "pydantic_settings"}


def test_first_publish_without_a_log_loads_nothing_of_logs_jobs_and_streams() -> None:
    program = """
import asyncio, sys
from realtime_bridge import Broadcaster
from realtime_bridge_backends.null import NullBackend
from realtime_bridge_backends.pusher import PusherBackend
Broadcaster(backend=PusherBackend("1", "key", "secret"))
async def main():
    async with Broadcaster(backend=NullBackend()) as broadcaster:
        await broadcaster.publish("job.7", "step", 1)
asyncio.run(main())
print(*sys.modules)
"""
    unused = {
        "backend.environment", "backend.listener_queue", "backend.provider_connection",
        "jobs.job", "jobs.publisher", "jobs.update", "protocol.client", "protocol.session",
        "protocol.publishing.history", "protocol.publishing.published_positions",
        "protocol.streams", "publishing.blocking", "publishing.failover",
        "publishing.lease_keeper", "publishing.log_writer", "publishing.owned_keys",
        "publishing.pipeline", "publishing.stream", "publishing.streams", "settings",
    }  # fmt: skip
    loaded = printed_by(program)
    assert "realtime_bridge.publishing.event_pusher" in loaded
    assert not loaded & {f"realtime_bridge.{name}" for name in unused}


def test_signing_for_pusher_loads_no_http_library() -> None:
    program = """
import asyncio
from realtime_bridge.backend.hosted import AuthorizationRequest
from realtime_bridge_backends.pusher import PusherBackend
async def allow(channel):
    return True
request = AuthorizationRequest(user="42", client="c_1", seconds=600, allow=allow)
fields = {"socket_id": "1.2", "channel_name": "private-realtime.job.7"}
assert asyncio.run(PusherBackend("1", "key", "secret").authorize(fields, request))
"""
    assert not loaded_by(program) & {"aiohttp", "yarl", "cryptography"}


def test_server_with_its_own_tokens_loads_no_library_of_tokens() -> None:
    program = """
from realtime_bridge.server import Bridge, Tokens
tokens = Tokens("a secret of at least 32 bytes in length", issuer="realtime")
assert tokens.verify(tokens.issue("42")).user == "42"
"""
    assert not loaded_by(program) & {"jwt", "cryptography"}


def test_start_of_the_command_line_loads_no_command() -> None:
    loaded = loaded_by("import realtime_bridge.cli.app")
    assert not loaded & {"pydantic", "uvicorn", "jwt", "psycopg", "aiohttp"}


def test_correct_environment_loads_no_search_for_names() -> None:
    program = """
import os
os.environ |= {"REALTIME_BACKEND": "memory", "REALTIME_PREFIX": "app"}
from realtime_bridge import Broadcaster
Broadcaster.from_env()
"""
    loaded = loaded_by(program)
    assert "pydantic_settings" in loaded
    assert "difflib" not in loaded


@pytest.mark.parametrize("name", BUILT_IN)
def test_publish_path_defines_no_dataclass(name: str) -> None:
    # The definition of each one costs a cold start about a millisecond, that of a struct a tenth.
    program = f"""
import sys
from realtime_bridge.backend.environment import load_settings
from realtime_bridge.backend.plugins import load_backend
from realtime_bridge.jobs import job
from realtime_bridge.publishing import blocking, pipeline
load_backend({name!r})
modules = [module for name, module in sys.modules.items() if name.startswith("realtime_bridge")]
values = [value for module in modules for value in vars(module).values()]
classes = [value for value in values if isinstance(value, type)]
print(*(
    f"{{one.__module__}}.{{one.__name__}}" for one in classes
    if hasattr(one, "__dataclass_fields__") and one.__module__.startswith("realtime_bridge")
))
"""
    assert not printed_by(program)


@pytest.mark.parametrize("name", ["ably", "pusher", "redis", "sqlite"])
def test_settings_of_a_backend_load_no_sdk(name: str) -> None:
    loaded = loaded_by(f"import realtime_bridge_backends.{name}.settings")
    assert not loaded & {"ably", "aiohttp", "pusher", "redis", "psycopg", "sqlite3"}


WITHOUT = """
import sys
sys.modules["{package}"] = None
from realtime_bridge import ExtraNotInstalledError
try:
    {statement}
except ExtraNotInstalledError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("package", "statement", "extra"),
    [
        ("aiohttp", "import realtime_bridge.client", "client"),
        ("jwt", "import realtime_bridge.server", "server"),
        (
            "msgpack",
            "from realtime_bridge.testing.providers import LocalAbly",
            "testing,ably",
        ),
    ],
)
def test_missing_package_names_the_extra(package: str, statement: str, extra: str) -> None:
    program = WITHOUT.format(package=package, statement=statement)
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert f"pip install 'realtime-bridge[{extra}]'" in done.stdout
