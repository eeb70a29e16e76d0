"""The browser's client comes with the wheel, and the server hands it out."""

from pathlib import Path

from aiohttp import ClientSession
from hatchling.builders.wheel import WheelBuilder

from tests.server.harness import made, running

ROOT = Path(__file__).parent.parent
BUNDLE = "realtime_bridge/server/static/client.js"


def test_the_wheel_has_it() -> None:
    included = WheelBuilder(str(ROOT)).recurse_included_files()
    assert BUNDLE in {file.distribution_path for file in included}


async def test_it_is_served_as_a_module_that_is_loaded_once() -> None:
    async with running(made()) as origin, ClientSession(origin) as http:
        async with http.get("/client.js") as answer:
            assert answer.status == 200
            assert answer.content_type == "text/javascript"
            assert await answer.read() == (ROOT / BUNDLE).read_bytes()
            etag = answer.headers["etag"]
        async with http.get("/client.js", headers={"if-none-match": etag}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
        async with http.get("/client.js", headers={"if-none-match": '"older"'}) as answer:
            assert answer.status == 200
