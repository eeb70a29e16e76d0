"""Tests of the metrics for Prometheus."""

import asyncio
import json
import re
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path

import orjson
import promql_parser
import pytest
import yaml
from aiohttp import ClientSession
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from realtime_bridge.protocol.wire.rpc import signed_headers
from realtime_bridge.server.auth.tokens import Tokens
from tests.cli.processes import ServeProcess
from tests.server.harness import SECRET, Client, Serve, Site
from tests.services.redis import RedisServer

DOCS = Path(__file__).parents[3] / "docs"
DASHBOARD = DOCS / "grafana-dashboard.json"
ALERTS = DOCS / "prometheus-alerts.yaml"

WORKERS, CLIENTS, EVENTS = 4, 8, 5


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


def queries_of_dashboard() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def queries_of_alerts() -> list[str]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


@pytest.mark.parametrize("queries", [queries_of_dashboard(), queries_of_alerts()])
async def test_queries_are_promql_of_metrics_that_exist(site: Site, queries: list[str]) -> None:
    known = {metric.name for metric in await families(site.http, site.url)}
    assert queries
    for query in queries:
        promql_parser.parse(re.sub(r"\$__\w+", "5m", query))
        for name in re.findall(r"realtime_\w+", query):
            assert re.sub("_(total|bucket|count|sum)$", "", name) in known, name


async def all_workers(http: ClientSession, url: str) -> list[Metric]:
    """Return a page of metrics, once all workers answer."""
    async with asyncio.timeout(30):
        while len(page_workers(page := await families(http, url))) < WORKERS:  # noqa: ASYNC110 -- no event reports it
            await asyncio.sleep(0.1)
    return page


async def publish(http: ClientSession, url: str) -> None:
    """Publish one event, in a worker that the kernel chooses."""
    body = orjson.dumps({"events": [{"channel": "news.1", "event": "e", "data": 1}]})
    headers = signed_headers(SECRET, f"{time.time():.6f}", body)
    # A connection of its own for each request: else one worker gets all of them.
    async with http.post(
        f"{url}/publish", data=body, headers={**headers, "connection": "close"}
    ) as r:
        assert r.status == 200


def total(page: list[Metric], name: str, **labels: str) -> float:
    """Return the sum of a metric over the workers."""
    return sum(
        sample.value
        for metric in page
        for sample in metric.samples
        if sample.name == f"realtime_{name}" and labels.items() <= sample.labels.items()
    )


async def test_metrics_of_four_workers_add_up_to_the_truth(tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--save", "") as redis:
        variables = {
            "REALTIME_SECRET": SECRET,
            "REALTIME_BACKEND": "redis",
            "REALTIME_REDIS_URL": redis.url,
        }
        command = ("--workers", str(WORKERS))
        with ServeProcess(*command, folder=tmp_path, variables=variables) as server:
            async with ClientSession() as http, AsyncExitStack() as exits:
                await all_workers(http, server.url)
                clients = [await listen(server.url, n, exits) for n in range(CLIENTS)]
                for _ in range(EVENTS):
                    await publish(http, server.url)
                async with asyncio.timeout(30):
                    for client in clients:
                        await client.events(EVENTS)
                page = await all_workers(http, server.url)
            server.send(signal.SIGTERM)
            server.finish()
    assert total(page, "connections", transport="websocket") == CLIENTS
    assert total(page, "connections_opened_total", transport="websocket") == CLIENTS
    assert total(page, "users") == CLIENTS
    assert total(page, "events_published_total") == EVENTS
    assert total(page, "event_deliveries_total") == EVENTS * CLIENTS
    assert total(page, "log_up") == WORKERS
    busy = sum(total(page, "users", worker=worker) > 0 for worker in page_workers(page))
    assert total(page, "events_announced_total") == EVENTS * busy


async def listen(url: str, number: int, exits: AsyncExitStack) -> Client:
    """Open a client of a user of its own, which subscribes."""
    opening = connect(f"{url.replace('http', 'ws', 1)}/ws", compression=None, proxy=None)
    client = Client(await exits.enter_async_context(opening))
    tokens = Tokens(SECRET, issuer="realtime")
    await client.introduce(tokens.issue(f"user{number}", channels=["news.*"]))
    await client.subscribe("news.1")
    return client


def page_workers(page: list[Metric]) -> set[str]:
    (metric,) = (metric for metric in page if metric.name == "realtime_users")
    return {sample.labels.get("worker", "") for sample in metric.samples}
