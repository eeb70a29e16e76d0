"""What all tests share."""

import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from realtime_bridge.publishing import blocking

pytest.register_assert_rewrite("realtime_bridge.testing")

# A busy machine is not a failure.
settings.register_profile(
    "patient", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("patient")


@pytest.fixture(scope="module", autouse=True)
def _nothing_left_running() -> Iterator[None]:
    """End the threads of what an application makes once: they would go on beside other tests.

    Hypothesis takes it for the test's own doing when one of them draws a random number.
    """
    yield
    blocking._close_all()
    assert "realtime-bridge" not in [thread.name for thread in threading.enumerate()]
