"""Null backend: accepts every event and delivers none."""

import pytest

from realtime_bridge import Broadcaster, Receipt
from realtime_bridge.settings import Settings
from realtime_bridge.testing import BackendContract
from realtime_bridge_backends.null import NullBackend


class TestBackend(BackendContract):
    @pytest.fixture
    def backend(self) -> NullBackend:
        return NullBackend()


async def test_publish_succeeds_without_a_position() -> None:
    settings = Settings(backend="null")
    async with Broadcaster.from_settings(settings) as broadcaster:
        assert isinstance(broadcaster.backend, NullBackend)
        assert broadcaster.log is None
        receipt = await broadcaster.publish("job.7", "job.progress", {"percent": 30}, id="one")
    assert receipt == Receipt(id="one", position=None, duplicate=False, pushed=True)
