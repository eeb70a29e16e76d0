"""Random events, of which some are plain and some have a decision of Python."""

from typing import Any

from hypothesis import strategies as st

from realtime_bridge.model.event import Event

CHANNELS = ("job.1", "job.2", "job.3")
KEYS = (None, None, None, "a", "b")
WRITES: tuple[dict[str, Any], ...] = (
    {},
    {},
    {},
    {},
    {"attempt": "one", "take": "always"},
    {"attempt": "one", "take": "always", "lease": 5, "will": {"event": "job.lost"}},
    {"attempt": "one", "fold": "append"},
    {"attempt": "two", "fold": "end"},
    {"fold": "note"},
)


@st.composite
def events(draw: st.DrawFn) -> Event:
    key, write = draw(st.sampled_from(KEYS)), draw(st.sampled_from(WRITES))
    return Event(
        channel=draw(st.sampled_from(CHANNELS)),
        event="job.step",
        data=[draw(st.integers(0, 3)), "x" * draw(st.sampled_from([0, 0, 50, 3_000]))],
        id=f"id-{draw(st.integers(0, 40))}",
        key=key,
        source=draw(st.sampled_from([None, "c_1"])),
        **(write if key else {}),
    )
