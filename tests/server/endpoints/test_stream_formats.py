"""Tests of streams with programs of others: pydantic-ai writes, curl reads, a provider delivers."""

import asyncio
import time
from typing import Any

import orjson
import pytest
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel
from pydantic_ai.ui.ag_ui import AGUIAdapter
from pydantic_ai.ui.vercel_ai import VercelAIAdapter

from realtime_bridge.testing.providers import LocalPusher
from tests.server.harness import TIMEOUT, Serve, Site, make_bridge

CHANNEL = "chat.1"
TEXT = "It is sunny in Paris"
UI_MESSAGE_INPUT = {
    "trigger": "submit-message",
    "id": "c1",
    "messages": [{"id": "u1", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}],
}
AG_UI_INPUT: dict[str, Any] = {
    "threadId": "t",
    "runId": "r",
    "state": {},
    "tools": [],
    "context": [],
    "messages": [{"id": "u1", "role": "user", "content": "Hi"}],
    "forwardedProps": {},
}


def agent() -> Agent[None, str]:
    """Return an agent that calls a tool, then answers in several parts, without an account."""
    weather = Agent(TestModel(custom_output_text=TEXT))

    @weather.tool_plain
    def forecast(city: str) -> str:
        return f"sunny in {city}"

    return weather


async def read(site: Site, form: str) -> list[Any]:
    headers = {"authorization": f"Bearer {site.token()}"}
    url = f"{site.url}/stream?channel={CHANNEL}&id=m1&format={form}"
    async with asyncio.timeout(TIMEOUT), site.http.get(url, headers=headers) as response:
        blocks = (await response.text()).split("\n\n")[:-1]
    lines = [block.removeprefix("data: ") for block in blocks]
    return [line if line == "[DONE]" else orjson.loads(line) for line in lines]


async def test_agent_of_pydantic_ai_is_read_as_a_ui_message(site: Site) -> None:
    run_input = VercelAIAdapter.build_run_input(orjson.dumps(UI_MESSAGE_INPUT))
    adapter = VercelAIAdapter(agent(), run_input, sdk_version=6)
    async with site.bridge.stream(CHANNEL, id="m1", format="ui-message") as stream:
        await stream.write(adapter.run_stream())
    first, *chunks, last = await read(site, "ui-message")
    assert (first, last) == ({"type": "start", "messageId": "m1"}, "[DONE]")
    assert [chunk["delta"] for chunk in chunks if chunk["type"] == "text-delta"] == [TEXT]
    kinds = [chunk["type"] for chunk in chunks]
    assert {"tool-input-available", "tool-output-available", "text-start", "text-end"} <= {*kinds}
    assert kinds.count("finish") == 1
    assert kinds[-1] == "finish"


async def test_agent_of_pydantic_ai_is_read_as_an_ag_ui_run(site: Site) -> None:
    adapter = AGUIAdapter(agent(), AGUIAdapter.build_run_input(orjson.dumps(AG_UI_INPUT)))
    async with site.bridge.stream(CHANNEL, id="m1", format="ag-ui") as stream:
        await stream.write(adapter.run_stream())
    events = await read(site, "ag-ui")
    assert (events[0]["type"], events[0]["runId"]) == ("RUN_STARTED", "r")
    assert events[-1]["type"] == "RUN_FINISHED"
    deltas = [one["delta"] for one in events if one["type"] == "TEXT_MESSAGE_CONTENT"]
    assert deltas == [TEXT]
    assert [one["type"] for one in events].count("TOOL_CALL_RESULT") == 1


async def test_curl_reads_a_stream_to_its_end(site: Site) -> None:
    headers = ("--header", f"Realtime-Token: {site.token()}")
    url = f"{site.url}/stream?channel={CHANNEL}&id=m1"
    curl = await asyncio.create_subprocess_exec(
        *("curl", "--no-buffer", "--silent", *headers, url), stdout=asyncio.subprocess.PIPE
    )
    assert curl.stdout
    async with asyncio.timeout(TIMEOUT):
        assert await curl.stdout.readline() == b"retry: 3000\n"
        async with site.bridge.stream(CHANNEL, id="m1") as stream:
            stream.append("Hello")
        output = await curl.stdout.read()
        assert await curl.wait() == 0
    assert b"event: part\n" in output
    assert output.endswith(b'data: {"state":"completed","error":null,"by":null}\n\n')


async def test_provider_delivers_parts_and_the_bridge_reads_and_stops(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with LocalPusher() as pusher:
        for name, value in pusher.environment.items():
            monkeypatch.setenv(name, value)
        site = await serve(make_bridge(backend="pusher", log="memory"))
        start = time.monotonic()
        async with site.bridge.stream(CHANNEL, id="m1", format="json") as stream:
            while len(stream.items) < 40:
                stream.append(len(stream.items))
                await asyncio.sleep(0.01)
            # A part at once, then at most one in 150 ms.
            assert 2 <= pusher.calls <= 2 + (time.monotonic() - start) / 0.15
            token = site.tokens.issue("42", channels=["chat.*"], controls=["chat.*"])
            body, bearer = {"channel": CHANNEL, "stream": "m1"}, f"Bearer {token}"
            assert await site.post("stream/stop", body, authorization=bearer) == (
                200,
                {"state": "stopped"},
            )
        snapshot = await site.bridge.read_stream(CHANNEL, "m1")
        assert snapshot
        assert (snapshot.state, list(snapshot.items)) == ("stopped", stream.items)
