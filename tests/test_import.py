"""Importing the package costs a worker nothing that it does not use."""

import subprocess
import sys

import pytest

HEAVY = {
    "pydantic", "dotenv", "aiohttp", "jwt", "websockets",
    "redis", "psycopg", "pusher", "ably",
    "uvicorn", "starlette", "typer", "rich", "pytest",
}  # fmt: skip


def loaded_by(program: str) -> set[str]:
    """Return the top-level modules in a fresh interpreter that ran `program`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_the_package_alone_loads_nothing_heavy() -> None:
    loaded = loaded_by("import realtime_bridge")
    assert "realtime_bridge" in loaded
    assert not loaded & (HEAVY | {"asyncio", "msgspec", "orjson"})


def test_resolving_every_public_name_loads_no_heavy_library_and_no_backend() -> None:
    loaded = loaded_by("from realtime_bridge import *")
    assert {"asyncio", "msgspec", "orjson"} <= loaded
    assert not loaded & (HEAVY | {"realtime_bridge_backends"})


@pytest.mark.parametrize("module", ["history", "reducer", "backoff"])
def test_the_protocol_loads_no_heavy_library(module: str) -> None:
    loaded = loaded_by(f"import realtime_bridge.protocol.{module}")
    assert not loaded & (HEAVY | {"asyncio", "realtime_bridge_backends"})


def test_a_publisher_made_from_the_environment_loads_no_pydantic_which_costs_a_cold_start() -> None:
    loaded = loaded_by("from realtime_bridge import Broadcaster; Broadcaster.from_env()")
    assert "msgspec" in loaded
    assert not loaded & {"pydantic", "pydantic_core"}
