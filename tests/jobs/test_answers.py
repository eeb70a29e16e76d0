"""Tests of the answers that a job keeps."""

from realtime_bridge.jobs.control import MAX_ANSWERS_BYTES, Request, decide_answer
from realtime_bridge.jobs.snapshot import JobSnapshot


def test_only_the_newest_answers_are_kept_where_all_are_too_long() -> None:
    answers = {f"q{n}": "x" * 8_000 for n in range(9)}
    asked = JobSnapshot(
        data={}, state="asking", attempt="A", question={"id": "q9"}, answers=answers
    )
    decision = decide_answer("chat.1", "a1", asked, question="q9", value="y" * 8_000, by="42")
    assert isinstance(decision, Request)
    kept = decision.event.data["answers"]
    assert list(kept) == [f"q{n}" for n in range(2, 10)]
    assert len(kept) * 8_000 <= MAX_ANSWERS_BYTES
    assert kept["q9"] == "y" * 8_000
