"""Tests of the metrics for Prometheus."""

import asyncio
import json
import re
import signal
from pathlib import Path

import pytest
from aiohttp import ClientSession
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import InvalidStatus

from realtime_bridge.server.auth.tokens import Tokens
from tests.cli.processes import ServeProcess
from tests.server.harness import SECRET, Serve, Site
from tests.services.redis import RedisServer

DASHBOARD = Path(__file__).parents[3] / "docs" / "grafana-dashboard.json"


async def families(http: ClientSession, url: str) -> list[Metric]:
    async with http.get(f"{url}/metrics") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        return list(text_string_to_metric_families(await answer.text()))


async def read(site: Site, **labels: str) -> dict[str, float]:
    """Return the value of each sample that has these labels."""
    return {
        sample.name: sample.value
        for family in await families(site.http, site.url)
        for sample in family.samples
        if labels.items() <= sample.labels.items()
    }


async def test_connections_and_events_are_counted(site: Site) -> None:
    client = await site.connect()
    await client.subscribe("job.7")
    await site.fill("job.7", [1, 2, 3])
    await client.events(3)
    metrics = await read(site)
    assert metrics["realtime_events_published_total"] == 3
    assert metrics["realtime_events_announced_total"] == 3
    assert metrics["realtime_event_deliveries_total"] == 3
    assert metrics["realtime_event_delay_seconds_count"] == 3
    assert metrics["realtime_log_up"] == 1
    assert metrics["realtime_resets_total"] == 0
    assert (await read(site, transport="websocket"))["realtime_connections"] == 1
    assert (await read(site, transport="sse"))["realtime_connections"] == 0


async def test_recovery_and_reset_are_counted(site: Site) -> None:
    client = await site.connect()
    start = await client.subscribe("job.7")
    await site.context.pipeline.log.rotate_epoch("job.7", start["epoch"])
    await site.fill("job.7", [1])
    await client.expect("reset")
    metrics = await read(site)
    assert (metrics["realtime_recoveries_total"], metrics["realtime_resets_total"]) == (1, 1)


async def test_refusals_are_counted_by_code_and_closings_too(site: Site) -> None:
    await site.post("poll", {}, origin="https://elsewhere.example")
    with pytest.raises(InvalidStatus):
        await site.open(origin="https://elsewhere.example")
    await site.poll({"other": None}, channels=["job.*"])
    client = await site.open()
    await client.send("connect", token="no token", nonce="n", version=1)
    await client.closed()
    assert (await read(site, code="bad_origin"))["realtime_refusals_total"] == 2
    assert (await read(site, code="forbidden"))["realtime_refusals_total"] == 1
    assert (await read(site, code="bad_token"))["realtime_refusals_total"] == 1
    assert (await read(site, code="4401"))["realtime_connections_closed_total"] == 1
    assert (await read(site))["realtime_polls_total"] == 1


async def test_other_secrets_are_logged_once_with_their_cause(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    other = "another secret of 32 bytes at least"
    token = Tokens(other, issuer="realtime").issue("42")
    for _ in range(2):
        body = {"events": [{"channel": "job.7", "event": "job.step"}]}
        assert (await site.publish(body, secret=other))[0] == 401
        await site.post("poll", {"positions": {}}, authorization=f"Bearer {token}")
        client = await site.open()
        await client.send("connect", token=token, nonce="n", version=1)
        await client.closed()
    lines = [record.getMessage() for record in caplog.records if "client refused" in record.msg]
    assert len(lines) == 2
    assert any("code=bad_signature" in line and "same secret" in line for line in lines)
    assert any("code=token_unknown_key" in line and "REALTIME_SECRET" in line for line in lines)


async def test_metric_names_have_the_prefix_of_the_application(serve: Serve) -> None:
    metrics = await read(await serve(prefix="my-app"))
    assert "my_app_users" in metrics


async def test_each_metric_has_a_help_text_of_its_own_and_a_usual_unit(site: Site) -> None:
    metrics = await families(site.http, site.url)
    texts = [metric.documentation for metric in metrics]
    assert len(set(texts)) == len(texts)
    assert all(text[0].isupper() or text[0] == "1" for text in texts)
    assert all(text.endswith(".") for text in texts)
    units = [name for metric in metrics if re.search("_time|delay", name := metric.name)]
    assert all(name.endswith("_seconds") for name in units)


async def test_dashboard_uses_metrics_that_exist(site: Site) -> None:
    known = {metric.name for metric in await families(site.http, site.url)}
    panels = json.loads(DASHBOARD.read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    assert queries
    for name in re.findall(r"realtime_\w+", " ".join(queries)):
        assert re.sub("_(total|bucket|count|sum)$", "", name) in known, name


async def test_one_page_has_the_metrics_of_all_workers(tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--save", "") as redis:
        variables = {
            "REALTIME_SECRET": SECRET,
            "REALTIME_BACKEND": "redis",
            "REALTIME_REDIS_URL": redis.url,
        }
        with ServeProcess("--workers", "2", folder=tmp_path, variables=variables) as server:
            async with ClientSession() as http, asyncio.timeout(30):
                while True:
                    pages = [await families(http, server.url) for _ in range(3)]
                    workers = [page_workers(page) for page in pages]
                    if all(len(page) == 2 for page in workers):
                        break
                    await asyncio.sleep(0.1)
            assert workers[0] == workers[1] == workers[2]
            server.send(signal.SIGTERM)
            server.finish()


def page_workers(page: list[Metric]) -> set[str]:
    (metric,) = (metric for metric in page if metric.name == "realtime_users")
    return {sample.labels.get("worker", "") for sample in metric.samples}
