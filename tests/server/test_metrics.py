"""Prometheus can read what a server counts."""

from prometheus_client.parser import text_string_to_metric_families

from tests.server.harness import Serve, Site


async def read(site: Site) -> dict[str, float]:
    async with site.http.get(f"{site.url}/metrics") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        families = text_string_to_metric_families(await answer.text())
        return {sample.name: sample.value for family in families for sample in family.samples}


async def test_what_goes_on_here_is_counted(site: Site) -> None:
    client = await site.connect()
    await client.subscribe("job.7")
    await site.fill("job.7", [1, 2, 3])
    await client.events(3)
    counted = await read(site)
    assert counted["realtime_connections"] == 1
    assert counted["realtime_published_total"] == 3
    assert counted["realtime_events_total"] == 3
    assert counted["realtime_log_up"] == 1
    assert counted["realtime_resets_total"] == 0


async def test_a_gap_and_a_hole_are_counted(site: Site) -> None:
    client = await site.connect()
    start = await client.subscribe("job.7")
    await site.context.pipeline.log.rotate_epoch("job.7", start["epoch"])
    await site.fill("job.7", [1])
    await client.expect("reset")
    counted = await read(site)
    assert (counted["realtime_recoveries_total"], counted["realtime_resets_total"]) == (1, 1)


async def test_names_begin_with_the_applications_prefix(serve: Serve) -> None:
    counted = await read(await serve(prefix="my-app"))
    assert "my_app_connections" in counted
