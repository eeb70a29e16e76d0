"""Fixtures of all tests."""

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from realtime_bridge.backend.plugins import GROUP
from realtime_bridge.publishing import blocking

pytest.register_assert_rewrite("realtime_bridge.testing")

# A busy machine is not a failure.
settings.register_profile(
    "patient", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("patient")

LONGEST = (
    "lab/test_lab.py",
    "browser/test_idle_page.py",
    "browser/test_network_faults.py",
    "simulation/test_simulation.py",
    "nodes/test_presence_load.py",
    "nodes/test_redis_load.py",
    "integrations/test_servers.py",
    "examples/test_processing_queue.py",
    "browser/test_chat.py",
    "cli/test_doctor.py",
    "cli/test_wrong_configurations.py",
    "client/test_ably_client.py",
    "cli/test_cli_errors.py",
    "cli/test_cli_end_to_end.py",
    "cli/test_serve.py",
    "client/test_token_refusals.py",
    "nodes/test_postgres_load.py",
    "client/test_hybrid.py",
    "backends/test_websocket.py",
    "client/test_reconnect.py",
    "jobs/test_job.py",
)
"""Files of half a minute and more. They begin first: one that begins last keeps all waiting."""

DeclareBackends = Callable[[Mapping[str, str]], None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of the longest files first."""
    ranks = {Path(__file__).parent / name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


@pytest.fixture
def declare_backends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DeclareBackends:
    """Return a function that installs a distribution with these entry points of backends."""

    def declare(entry_points: Mapping[str, str]) -> None:
        metadata = tmp_path / "site" / "some_backends-1.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: some-backends\n")
        lines = [f"{name} = {target}" for name, target in entry_points.items()]
        (metadata / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]))
        monkeypatch.syspath_prepend(metadata.parent)

    return declare


@pytest.fixture(scope="module", autouse=True)
def _no_thread_outlives_a_module() -> Iterator[None]:
    """Close broadcasters at module level: their threads would run beside other tests.

    Hypothesis attributes a random number that such a thread draws to the test.
    """
    yield
    blocking.close_all()
    assert "realtime-bridge" not in [thread.name for thread in threading.enumerate()]
