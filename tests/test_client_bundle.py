"""The browser's client comes with the wheel, and the server hands it out."""

import re
from pathlib import Path

from aiohttp import ClientSession
from hatchling.builders.wheel import WheelBuilder

from tests.server.harness import make_bridge, running

ROOT = Path(__file__).parent.parent
FOLDER = "realtime_bridge/server/static"
BUNDLE = f"{FOLDER}/client.js"


def loaded_on_demand() -> set[str]:
    """Return the files that client.js loads where they are wanted."""
    return set(re.findall(r'import\("\./([^"]+)"\)', (ROOT / BUNDLE).read_text()))


def test_the_wheel_has_it_and_all_that_it_loads() -> None:
    included = WheelBuilder(str(ROOT)).recurse_included_files()
    paths = {file.distribution_path for file in included}
    names = {f"client-{name}.js" for name in ("ably", "presence", "pusher", "sse", "tabs")}
    assert names <= loaded_on_demand()
    assert {BUNDLE, *(f"{FOLDER}/{name}" for name in loaded_on_demand())} <= paths


async def test_what_it_loads_is_served_beside_it() -> None:
    async with running(make_bridge()) as origin, ClientSession(origin) as http:
        for name in loaded_on_demand():
            async with http.get(f"/realtime/{name}") as answer:
                assert (answer.status, answer.content_type) == (200, "text/javascript")


async def test_it_is_served_as_a_module_that_is_loaded_once() -> None:
    async with running(make_bridge()) as origin, ClientSession(origin) as http:
        async with http.get("/realtime/client.js") as answer:
            assert answer.status == 200
            assert answer.content_type == "text/javascript"
            assert await answer.read() == (ROOT / BUNDLE).read_bytes()
            etag = answer.headers["etag"]
        async with http.get("/realtime/client.js", headers={"if-none-match": etag}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
        async with http.get("/realtime/client.js", headers={"if-none-match": '"older"'}) as answer:
            assert answer.status == 200
