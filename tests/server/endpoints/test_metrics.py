"""Tests of the metrics for Prometheus."""

from prometheus_client.parser import text_string_to_metric_families

from tests.server.harness import Serve, Site


async def read(site: Site) -> dict[str, float]:
    async with site.http.get(f"{site.url}/metrics") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        families = text_string_to_metric_families(await answer.text())
        return {sample.name: sample.value for family in families for sample in family.samples}


async def test_connections_and_events_are_counted(site: Site) -> None:
    client = await site.connect()
    await client.subscribe("job.7")
    await site.fill("job.7", [1, 2, 3])
    await client.events(3)
    metrics = await read(site)
    assert metrics["realtime_connections"] == 1
    assert metrics["realtime_published_total"] == 3
    assert metrics["realtime_events_total"] == 3
    assert metrics["realtime_log_up"] == 1
    assert metrics["realtime_resets_total"] == 0


async def test_recovery_and_reset_are_counted(site: Site) -> None:
    client = await site.connect()
    start = await client.subscribe("job.7")
    await site.context.pipeline.log.rotate_epoch("job.7", start["epoch"])
    await site.fill("job.7", [1])
    await client.expect("reset")
    metrics = await read(site)
    assert (metrics["realtime_recoveries_total"], metrics["realtime_resets_total"]) == (1, 1)


async def test_metric_names_have_the_prefix_of_the_application(serve: Serve) -> None:
    metrics = await read(await serve(prefix="my-app"))
    assert "my_app_connections" in metrics
