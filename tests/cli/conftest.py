"""Development server in a process of its own."""

from collections.abc import Iterator

import pytest

from tests.cli.processes import ServeProcess


@pytest.fixture(scope="module")
def development(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    """Run `realtime-bridge serve --dev` for the tests of one module."""
    folder = tmp_path_factory.mktemp("server")
    with ServeProcess("--dev", folder=folder) as server:
        yield server


@pytest.fixture(scope="module")
def server_variables(development: ServeProcess) -> dict[str, str]:
    """Return the environment of a publisher to that server."""
    return {"REALTIME_WEBSOCKET_URL": development.url}
