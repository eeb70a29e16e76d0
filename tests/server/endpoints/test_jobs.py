"""Tests of the requests of pages to jobs: cancel and answer."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from realtime_bridge import JobCancelledError
from realtime_bridge.model.names import MAX_LABEL
from realtime_bridge.server.timing import ServerTiming
from tests.server.fakes import FakeBackend
from tests.server.harness import TIMEOUT, Frame, Serve, Site, make_bridge

CHANNEL = "chat.1"
MALFORMED: list[tuple[str, Frame, int, str]] = [
    ("cancel", {"channel": CHANNEL}, 400, "bad_job"),
    ("cancel", {"channel": CHANNEL, "job": 7}, 400, "bad_job"),
    ("cancel", {"channel": CHANNEL, "job": "a1", "reason": 7}, 400, "bad_reason"),
    ("cancel", {"job": "a1"}, 400, "bad_channel"),
    ("cancel", {"channel": "other.1", "job": "a1"}, 403, "may_not_control"),
    ("cancel", {"channel": CHANNEL, "job": "a1"}, 404, "unknown_job"),
    ("answer", {"channel": CHANNEL, "job": "a1", "value": 1}, 400, "bad_question"),
    ("answer", {"channel": CHANNEL, "job": "a1", "question": "q"}, 400, "bad_value"),
    (
        "answer",
        {"channel": CHANNEL, "job": "a1", "question": "q", "value": "x" * 9_000},
        *(400, "bad_value"),
    ),
    (
        "answer",
        {"channel": "other.1", "job": "a1", "question": "q", "value": 1},
        *(403, "may_not_control"),
    ),
    (
        "answer",
        {"channel": CHANNEL, "job": "a1", "question": "q", "value": 1},
        *(404, "unknown_job"),
    ),
]


async def post(site: Site, route: str, body: Any) -> tuple[int, Any]:
    token = site.tokens.issue("42", channels=["chat.*"], controls=["chat.*"])
    status, answer = await site.post(f"job/{route}", body, authorization=f"Bearer {token}")
    return status, answer["error"]["code"] if "error" in answer else answer


async def cancel(site: Site, job: str = "a1") -> tuple[int, Any]:
    return await post(site, "cancel", {"channel": CHANNEL, "job": job})


async def answer(
    site: Site, value: Any, question: str = "q", *, job: str = "a1"
) -> tuple[int, Any]:
    body = {"channel": CHANNEL, "job": job, "question": question, "value": value}
    return await post(site, "answer", body)


async def events(site: Site, name: str) -> list[Any]:
    """Wait for events of this name in the channel's snapshot, and return their data."""
    token = site.tokens.issue("42", channels=["chat.*"])
    headers = {"authorization": f"Bearer {token}"}
    async with asyncio.timeout(TIMEOUT):
        while True:
            async with site.http.get(f"{site.url}/latest?channel={CHANNEL}", headers=headers) as r:
                page = await r.json()
            if found := [event["data"] for event in page["events"] if event["event"] == name]:
                return found
            await asyncio.sleep(0.01)


async def test_malformed_request_has_an_error_of_its_own(site: Site) -> None:
    for route, body, status, code in MALFORMED:
        assert await post(site, route, body) == (status, code), body


async def test_page_cancels_a_job(site: Site) -> None:
    async def work() -> None:
        async with site.bridge.job(CHANNEL, id="a1", cancellable=True) as job:
            await events(site, "job.started")
            assert await cancel(site) == (202, {"state": "cancelling"})
            async with asyncio.timeout(TIMEOUT):
                while not job.cancelling:
                    job.progress(0.5)
                    await asyncio.sleep(0.01)
            await asyncio.sleep(TIMEOUT)

    with pytest.raises(JobCancelledError):
        await work()
    (end,) = await events(site, "job.cancelled")
    assert (end["state"], end["by"]) == ("cancelled", "42")
    assert await cancel(site) == (409, "ended")


async def test_job_that_is_not_cancellable_is_refused(site: Site) -> None:
    async with site.bridge.job(CHANNEL, id="a1"):
        await events(site, "job.started")
        assert await cancel(site) == (409, "not_cancellable")


async def test_page_answers_a_question_once(site: Site) -> None:
    async with site.bridge.job(CHANNEL, id="a1") as job:
        asking = asyncio.create_task(job.ask("Go on?", id="q", choices=["yes", "no"]))
        (data,) = await events(site, "job.asking")
        assert data["question"] == {"id": "q", "text": "Go on?", "choices": ["yes", "no"]}
        assert await answer(site, "perhaps") == (400, "not_a_choice")
        assert await answer(site, "yes", question="other") == (409, "no_question")
        assert await answer(site, "yes") == (202, {"state": "running"})
        assert await answer(site, "no") == (409, "answered")
        assert await asking == "yes"
    assert await answer(site, "no") == (409, "ended")


async def test_long_question_id_and_a_tuple_are_answered(site: Site) -> None:
    async with site.bridge.job(CHANNEL, id="a1") as job:
        asking = asyncio.create_task(job.ask("Rows?", id="q" * 200, timeout=TIMEOUT))
        (asked,) = await events(site, "job.asking")
        assert len(asked["question"]["id"]) <= MAX_LABEL
        reply = await site.bridge.answer_job(CHANNEL, "a1", "q" * 200, (1, 2))
        assert (reply.accepted, await asking) == (True, [1, 2])


async def test_hooks_run_after_a_cancel_and_their_failure_is_logged(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    bridge = make_bridge(timing=ServerTiming(job_hook=0.05))
    calls: list[tuple[str, str, str | None]] = []

    @bridge.on_cancel
    def revoke(channel: str, job: str, by: str | None) -> None:
        calls.append((channel, job, by))

    @bridge.on_cancel
    async def hang(channel: str, job: str, by: str | None) -> None:
        await asyncio.sleep(TIMEOUT)

    @bridge.on_cancel
    async def fail(channel: str, job: str, by: str | None) -> None:
        raise ZeroDivisionError("no broker")

    site = await serve(bridge)
    await bridge.publish(
        CHANNEL, "job.queued", {"job": "a1", "title": "Import", "cancellable": True}, key="job-a1"
    )
    assert await cancel(site) == (202, {"state": "cancelling"})
    assert (await bridge.cancel_job(CHANNEL, "a1")).accepted
    assert calls == [(CHANNEL, "a1", "42"), (CHANNEL, "a1", None)]
    assert "cancel hook failed channel=chat.1 job=a1 error='TimeoutError'" in caplog.text
    assert "cancel hook failed channel=chat.1 job=a1 error='no broker'" in caplog.text
    await cancel(site, "unknown")
    assert len(calls) == 2


async def test_hooks_run_after_an_answer_of_a_row(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    bridge = make_bridge()
    calls: list[tuple[object, ...]] = []

    @bridge.on_answer
    def save(*answer: object) -> None:
        calls.append(answer)

    @bridge.on_answer
    async def fail(*_: object) -> None:
        raise ZeroDivisionError("no database")

    site = await serve(bridge)
    question = {"id": "q", "text": "Overwrite?", "choices": ["yes", "no"]}
    row = {"id": 7, "status": "asking", "question": question}
    await bridge.publish(CHANNEL, "job.updated", row, key="job-7")
    assert await answer(site, "maybe", job="7") == (400, "not_a_choice")
    assert await answer(site, "yes", job="7") == (202, {"state": "running"})
    assert await answer(site, "no", job="7") == (409, "answered")
    assert calls == [(CHANNEL, "7", "q", "yes", "42")]
    assert "answer hook failed channel=chat.1 job=7 error='no database'" in caplog.text
    await bridge.publish(CHANNEL, "job.updated", {**row, "status": "completed"}, key="job-7")
    assert await cancel(site, "7") == (409, "ended")


async def test_hooks_that_hang_delay_no_other_thread(serve: Serve) -> None:
    bridge = make_bridge(timing=ServerTiming(job_hook=0.05))
    may_end = threading.Event()

    @bridge.on_cancel
    def hang(channel: str, job: str, by: str | None) -> None:
        may_end.wait(TIMEOUT)

    site = await serve(bridge)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    await bridge.publish(
        CHANNEL, "job.queued", {"job": "a1", "title": "Import", "cancellable": True}, key="job-a1"
    )
    try:
        assert await cancel(site) == (202, {"state": "cancelling"})
        await asyncio.wait_for(asyncio.to_thread(lambda: None), TIMEOUT / 2)
    finally:
        may_end.set()


async def test_log_without_owners_is_named(serve: Serve) -> None:
    site = await serve(with_log=FakeBackend())
    assert await cancel(site) == (501, "no_owners")


async def test_descriptor_has_the_routes(site: Site) -> None:
    token = site.tokens.issue("42")
    _, descriptor = await site.post("connect", {}, authorization=f"Bearer {token}")
    assert descriptor["urls"]["cancel"] == "job/cancel"
    assert descriptor["urls"]["answer"] == "job/answer"
