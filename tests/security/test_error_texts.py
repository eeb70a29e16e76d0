"""Texts that strangers read: they have no addresses and no internals of the log."""

from typing import Any

import pytest

from realtime_bridge.errors import BackendUnavailableError
from tests.server.fakes import FakeBackend
from tests.server.harness import Serve, Site

INTERNALS = "Redis at redis://10.0.0.5:6379/0: ERR Error running script, @user_script: line 97"
ROUTES = [
    ("POST", "poll", {"positions": {"job.7": None}}),
    ("POST", "poll", {"positions": {"job.7": {"epoch": "k3v9q2wz", "offset": 1}}}),
    ("POST", "poll", {"positions": {"job.7": None}, "wait": 1}),
    ("GET", "latest?channel=job.7", None),
]


class BrokenLog(FakeBackend):
    """Log whose errors name what a stranger must not read."""

    is_broken = False

    def __str__(self) -> str:
        return INTERNALS

    def _fail(self) -> None:
        if self.is_broken:
            raise BackendUnavailableError(INTERNALS)

    async def append(self, *arguments: Any) -> Any:
        self._fail()
        return await super().append(*arguments)

    async def read(self, *arguments: Any, **options: Any) -> Any:
        self._fail()
        return await super().read(*arguments, **options)

    async def latest(self, *arguments: Any, **options: Any) -> Any:
        self._fail()
        return await super().latest(*arguments, **options)

    async def positions(self, *arguments: Any) -> Any:
        self._fail()
        return await super().positions(*arguments)


@pytest.fixture
async def site(serve: Serve) -> Site:
    log = BrokenLog()
    site = await serve(with_log=log)
    log.is_broken = True
    return site


@pytest.mark.parametrize(("method", "route", "body"), ROUTES, ids=str)
async def test_answer_to_a_browser_has_no_internals(
    site: Site, method: str, route: str, body: Any
) -> None:
    headers = {"authorization": f"Bearer {site.token()}"}
    async with site.http.request(
        method, f"{site.url}/{route}", json=body, headers=headers
    ) as answer:
        text = await answer.text()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert "log_unavailable" in text
    assert "10.0.0.5" not in text
    assert "user_script" not in text


async def test_refused_subscription_has_no_internals(site: Site) -> None:
    client = await site.connect("42")
    await client.send("subscribe", channel="job.7")
    refused = await client.expect("refused")
    assert refused["code"] == 500
    assert "10.0.0.5" not in str(refused)


async def test_report_of_health_has_no_address(site: Site) -> None:
    async with site.http.get(f"{site.url}/health") as answer:
        assert "10.0.0.5" not in await answer.text()


async def test_signed_call_gets_the_reason(site: Site) -> None:
    status, answer = await site.publish({"events": [{"channel": "job.7", "event": "job.step"}]})
    assert (status, answer["error"]["code"]) == (503, "log_unavailable")
    assert "10.0.0.5" in answer["error"]["message"]
