"""Tests of the forms in which a stream is sent over HTTP."""

from collections.abc import Iterable
from typing import Any

import orjson
import pytest

from realtime_bridge.model.event import Event
from realtime_bridge.protocol.streams.ag_ui import AGUIRun
from realtime_bridge.protocol.streams.answer import LOST, RESTARTED, TRIMMED
from realtime_bridge.protocol.streams.encoder import StreamEncoder
from realtime_bridge.protocol.streams.event_stream import EventStream
from realtime_bridge.protocol.streams.steps import read_group, read_step
from realtime_bridge.protocol.streams.ui_message import UIMessageStream
from tests.protocol.streams.samples import CHANNEL, STREAM, ended, lapsed, part, started


def encode(encoder: StreamEncoder, *events: Event) -> list[Any]:
    """Return the data of the events that an encoder makes, of one event after another."""
    return read(encoder.encode(step) for event in events if (step := read_step(event)))


def read(pieces: Iterable[bytes]) -> list[Any]:
    blocks = b"".join(pieces).decode().split("\n\n")[:-1]
    data = [block.rpartition("data: ")[2] for block in blocks]
    return [text if text == "[DONE]" else orjson.loads(text) for text in data]


def test_events_have_names_positions_and_data() -> None:
    encoder = EventStream()
    steps = read_group([started(1), part(4, "a", "b"), lapsed(5)])
    assert b"".join(map(encoder.encode, steps)).decode() == (
        "event: start\nid: k3v9q2wz:1\n"
        'data: {"stream":"m1","attempt":"A","format":"text","meta":{"model":"x"},"trimmed":false}'
        '\n\nevent: part\nid: k3v9q2wz:4\ndata: ["a","b"]\n\n'
        'event: lost\nid: k3v9q2wz:5\ndata: {"state":"lost"}\n\n'
    )
    assert not encoder.is_over
    assert encode(encoder, ended(6, "stopped")) == [{"state": "stopped", "error": None, "by": "42"}]
    assert encoder.is_over
    assert EventStream().interrupt("the server restarts") == b""


START = {"type": "start", "messageId": STREAM}
TEXT_START = {"type": "text-start", "id": "text"}
RUN = {"threadId": CHANNEL, "runId": STREAM}
RUN_STARTED, RUN_FINISHED = {"type": "RUN_STARTED", **RUN}, {"type": "RUN_FINISHED", **RUN}


def delta(text: str, name: str = "text") -> dict[str, str]:
    return {"type": "text-delta", "id": name, "delta": text}


def content(text: str) -> dict[str, str]:
    return {"type": "TEXT_MESSAGE_CONTENT", "messageId": STREAM, "delta": text}


def failed(error: str) -> list[Any]:
    return [{"type": "error", "errorText": error}, "[DONE]"]


def test_texts_are_wrapped_as_a_ui_message() -> None:
    encoder = UIMessageStream(STREAM)
    assert encode(encoder, started(), part(2, "Hel", "lo")) == [START, TEXT_START, delta("Hello")]
    text_end = {"type": "text-end", "id": "text"}
    assert encode(encoder, ended(3)) == [text_end, {"type": "finish"}, "[DONE]"]
    assert encoder.is_over
    assert encoder.interrupt("too late") == b""


def test_texts_are_wrapped_as_an_ag_ui_run() -> None:
    encoder = AGUIRun(CHANNEL, STREAM)
    begin = {"type": "TEXT_MESSAGE_START", "messageId": STREAM, "role": "assistant"}
    assert encode(encoder, started(), part(2, "Hel", "lo")) == [
        *(RUN_STARTED, begin, content("Hello"))
    ]
    assert encode(encoder, part(3, "", "")) == []
    end = {"type": "TEXT_MESSAGE_END", "messageId": STREAM}
    assert encode(encoder, ended(4)) == [end, RUN_FINISHED]


def test_stop_ends_open_parts_and_aborts() -> None:
    assert encode(UIMessageStream(STREAM), started(), ended(2, "stopped"))[2:] == [
        *({"type": "text-end", "id": "text"}, {"type": "abort"}, "[DONE]")
    ]
    run = encode(AGUIRun(CHANNEL, STREAM), started(), ended(2, "stopped"))
    assert run[-1] == {**RUN_FINISHED, "outcome": {"type": "cancelled"}}
    assert run[-2]["type"] == "TEXT_MESSAGE_END"


def test_failure_and_silence_end_an_answer_with_an_error() -> None:
    for last, error in (
        (ended(2, "failed", "no model"), "no model"),
        (ended(2, "failed"), "The answer failed"),
        (lapsed(2), LOST),
    ):
        message, run = UIMessageStream(STREAM), AGUIRun(CHANNEL, STREAM)
        assert encode(message, started(), last)[2:] == failed(error)
        assert encode(run, started(), last)[2:] == [{"type": "RUN_ERROR", "message": error}]
        assert message.is_over
        assert run.is_over


@pytest.mark.parametrize(
    ("encoder", "error"),
    [
        (UIMessageStream(STREAM), {"type": "error", "errorText": TRIMMED}),
        (AGUIRun(CHANNEL, STREAM), {"type": "RUN_ERROR", "message": TRIMMED}),
    ],
)
def test_answer_whose_items_expired_is_an_error(
    encoder: StreamEncoder, error: dict[str, Any]
) -> None:
    steps = read_group([started(1), ended(10)])
    sent = read(encoder.encode(step) for step in steps if not encoder.is_over)
    assert error in sent
    assert {"type": "finish"} not in sent
    assert encoder.is_over


def test_interrupted_answer_is_never_taken_for_a_whole_one() -> None:
    encoder = UIMessageStream(STREAM)
    encode(encoder, started(), part(2, "a"))
    assert read([encoder.interrupt("the server restarts")]) == failed("the server restarts")
    assert encoder.is_over


def test_new_attempt_in_the_middle_is_an_error() -> None:
    encoder = UIMessageStream(STREAM)
    encode(encoder, started(), part(2, "a"))
    assert encode(encoder, started(3, attempt="B")) == failed(RESTARTED)


def test_items_of_the_same_attempt_that_come_again_are_skipped() -> None:
    encoder = UIMessageStream(STREAM)
    encode(encoder, started(), part(2, "a", "b"), part(3, "c"))
    assert encode(encoder, started(4), part(5, "a"), part(6, "b", "c", "d"), ended(7)) == [
        *(delta("d"), {"type": "text-end", "id": "text"}, {"type": "finish"}, "[DONE]")
    ]


@pytest.mark.parametrize(
    "again",
    [
        [part(5, "a", "x", "c")],  # other items
        [part(5, "a", "bc", "d")],  # other borders
        [part(5, "a"), ended(6)],  # fewer items
    ],
)
def test_other_items_of_the_same_attempt_are_an_error(again: list[Event]) -> None:
    encoder = UIMessageStream(STREAM)
    encode(encoder, started(), part(2, "a", "b", "c"))
    assert encode(encoder, started(4), *again) == failed(RESTARTED)


CHUNKS = [
    {"type": "start", "messageId": "of the program", "messageMetadata": 1},
    {"type": "text-start", "id": "1"},
    delta("a", "1"),
    delta("b", "1"),
    {**delta("c", "1"), "providerMetadata": {"x": {}}},
    delta("d", "1"),
    delta("e", "2"),
    {"type": "reasoning-delta", "id": "2", "delta": "f"},
    {"type": "text-end", "id": "1"},
]


def test_chunks_are_sent_with_joined_deltas_and_our_id() -> None:
    encoder = UIMessageStream(STREAM)
    assert encode(encoder, started(form="ui-message")) == []
    assert encode(encoder, part(2, *CHUNKS)) == [
        {"type": "start", "messageId": STREAM, "messageMetadata": 1},
        CHUNKS[1],
        delta("ab", "1"),
        *CHUNKS[4:],
    ]
    finish = {"type": "finish", "finishReason": "stop"}
    assert encode(encoder, part(3, finish, {"type": "done"}), ended(4)) == [finish, "[DONE]"]


def test_chunks_without_start_and_finish_get_them() -> None:
    chunks = [
        {"type": "text-start", "id": "1"},
        delta("a", "1"),
        {"type": "reasoning-start", "id": "2"},
    ]
    encoder = UIMessageStream(STREAM)
    assert encode(encoder, started(form="ui-message"), part(2, *chunks, "no chunk"), ended(3)) == [
        START,
        *chunks,
        {"type": "reasoning-end", "id": "2"},
        {"type": "text-end", "id": "1"},
        {"type": "finish"},
        "[DONE]",
    ]
    empty = encode(UIMessageStream(STREAM), started(form="ui-message"), ended(2))
    assert empty == [START, {"type": "finish"}, "[DONE]"]


def test_events_of_a_program_are_sent_as_they_are() -> None:
    run = {"threadId": "t", "runId": "r"}
    events: list[dict[str, Any]] = [
        {"type": "RUN_STARTED", **run},
        {"type": "TEXT_MESSAGE_START", "messageId": "1", "role": "assistant"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "1", "delta": "a", "timestamp": 1},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "1", "delta": "b", "timestamp": 2},
    ]
    encoder = AGUIRun(CHANNEL, STREAM)
    sent = encode(encoder, started(form="ag-ui"), part(2, *events, "no event"))
    assert sent == [*events[:2], {**events[2], "delta": "ab"}]
    assert encode(encoder, ended(3, "stopped")) == [
        {"type": "TEXT_MESSAGE_END", "messageId": "1"},
        {"type": "RUN_FINISHED", **run, "outcome": {"type": "cancelled"}},
    ]


@pytest.mark.parametrize("last", ["RUN_FINISHED", "RUN_ERROR"])
def test_run_that_a_program_ended_gets_no_second_end(last: str) -> None:
    for end in (ended(3), ended(3, "failed", "no model")):
        encoder = AGUIRun(CHANNEL, STREAM)
        sent = encode(encoder, started(form="ag-ui"), part(2, {"type": last}), end)
        is_new_error = last == "RUN_FINISHED" and end.data["state"] == "failed"
        kinds = ["RUN_STARTED", last, *(["RUN_ERROR"] if is_new_error else [])]
        assert [event["type"] for event in sent] == kinds
