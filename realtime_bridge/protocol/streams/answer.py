"""Form of a stream for chat clients: the answer of one attempt, which nothing can take back."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import orjson

from realtime_bridge.protocol.streams.encoder import StreamEncoder
from realtime_bridge.protocol.streams.steps import Ended, Items, Lost, Started, Step

RESTARTED = "The answer was begun again: load it again"
TRIMMED = "Parts of this answer are no longer kept: load it from the application"
LOST = "The program that writes this answer is silent: load it again later"


class Answer(StreamEncoder):
    """Encoder of one answer.

    The items of the same attempt may come again, after a gap or after a loss of the log. Those that
    were sent are then skipped. A digest proves that they are the same: else the answer fails.
    """

    def __init__(self) -> None:
        self._attempt: str | None = None
        self._has_begun = False
        self._sent = 0
        """Number of the items that were sent."""
        self._digest = blake2b()
        """Digest of the items that were sent."""
        self._repeated = 0
        """Number of the items since the last start, up to those that were sent."""
        self._repeated_digest = blake2b()

    def encode(self, step: Step) -> bytes:
        """Return the events of a step."""
        match step:
            case Started():
                return self._start(step)
            case Items():
                return self._go_on(step.items)
            case Lost():
                return self._end(self.failure(LOST))
        return self._finish(step)

    def interrupt(self, reason: str) -> bytes:
        """Return a failure: the reader would take an answer without an end for a whole one."""
        return b"" if self.is_over else self._end(self.failure(reason))

    @abstractmethod
    def beginning(self, step: Started) -> bytes:
        """Return the events before the first item."""

    @abstractmethod
    def chunks(self, items: Sequence[Any]) -> bytes:
        """Return the events of items."""

    @abstractmethod
    def ending(self, state: str) -> bytes:
        """Return the events after the last item of a completed or stopped stream."""

    @abstractmethod
    def failure(self, error: str) -> bytes:
        """Return the events after which the answer is worthless or incomplete."""

    def _start(self, step: Started) -> bytes:
        if step.trimmed:
            return self._end(self.failure(TRIMMED))
        if not self._has_begun:
            self._has_begun, self._attempt = True, step.attempt
            return self.beginning(step)
        if step.attempt != self._attempt:
            return self._end(self.failure(RESTARTED))
        self._repeated, self._repeated_digest = 0, blake2b()
        return b""

    def _go_on(self, items: Sequence[Any]) -> bytes:
        missing = self._sent - self._repeated
        known, new = items[:missing], items[missing:]
        if known:
            _add(self._repeated_digest, known)
            self._repeated += len(known)
            is_whole = self._repeated == self._sent
            if is_whole and self._repeated_digest.digest() != self._digest.digest():
                return self._end(self.failure(RESTARTED))
        if not new:
            return b""
        _add(self._digest, new)
        self._sent += len(new)
        self._repeated = self._sent
        return self.chunks(new)

    def _finish(self, step: Ended) -> bytes:
        if self._repeated < self._sent:
            return self._end(self.failure(RESTARTED))
        if step.state == "failed":
            return self._end(self.failure(step.error or "The answer failed"))
        return self._end(self.ending(step.state))

    def _end(self, last: bytes) -> bytes:
        self.is_over = True
        return last


class OpenParts:
    """Parts of an answer that have a start and no end yet.

    Args:
        ends: type of a start, with the type of its end and the field that names the part.

    """

    def __init__(self, ends: Mapping[str, tuple[str, str]]) -> None:
        self._ends = ends
        self._open: dict[tuple[str, str], None] = {}
        self._fields = dict(ends.values())

    def add(self, items: Iterable[dict[str, Any]]) -> None:
        """Follow the starts and ends among items."""
        for item in items:
            kind = str(item.get("type"))
            if kind in self._ends:
                end, field = self._ends[kind]
                self._open[end, str(item.get(field))] = None
            elif kind in self._fields:
                self._open.pop((kind, str(item.get(self._fields[kind]))), None)

    def close(self) -> Iterator[dict[str, Any]]:
        """Return the missing ends, the innermost first."""
        while self._open:
            (kind, name), _ = self._open.popitem()
            yield {"type": kind, self._fields[kind]: name}


def joined(items: Iterable[Any], deltas: Mapping[str, str]) -> Iterator[Any]:
    """Return items, with neighbouring deltas of one part as one item.

    Args:
        items: the items.
        deltas: type of a delta, with the field that names its part.

    """
    run: list[dict[str, Any]] = []
    for item in items:
        name = deltas.get(str(item.get("type"))) if isinstance(item, dict) else None
        if name is None or item.keys() - {"timestamp"} != {"type", name, "delta"}:
            yield from _joined(run)
            yield item
            run = []
            continue
        if run and (item["type"], item[name]) != (run[-1]["type"], run[-1][name]):
            yield from _joined(run)
            run = []
        run.append(item)
    yield from _joined(run)


def _joined(run: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    if run:
        yield {**run[0], "delta": "".join(str(item["delta"]) for item in run)}


def _add(digest: "blake2b", items: Iterable[Any]) -> None:
    for item in items:
        digest.update(orjson.dumps(item))
        digest.update(b",")
