"""Checks of what one client and its servers send to one another (I7, I12, I20, I21, I24)."""

from collections.abc import Mapping
from typing import Any

import orjson

from realtime_bridge.testing.simulation.faults import SECRET_FAULTS
from realtime_bridge.testing.simulation.invariants import ROLLED_BACK, InvariantChecker
from realtime_bridge.testing.simulation.log_store import FullPosition, LogStore
from realtime_bridge.testing.simulation.observer import Observer
from realtime_bridge.testing.simulation.page import Page

DENYING = ("log_out", "revoke", "proxy_403", *SECRET_FAULTS)
"""Faults that deny a client, which makes it ask for a descriptor."""


class WireChecker(Observer):
    """Observer of one client's network.

    Args:
        page: the client.
        store: the log.
        checker: receives violations, and knows the faults.

    """

    def __init__(self, page: Page, store: LogStore, checker: InvariantChecker) -> None:
        self._page = page
        self._store = store
        self._checker = checker
        self._sent: dict[tuple[object, str], tuple[str, int]] = {}
        """Last position that each connection was sent, by channel."""
        self._generation = (0, 0)
        """Process of the client, and the greatest generation that it was given."""
        self._poll_answered = -1
        """Moment of the last answer to a poll, in milliseconds."""

    def polled(self, pending: int) -> None:
        """Check that one poll is pending (I7)."""
        if pending > 1:
            self._fail("I7", "two polls are pending")

    def sent(self, text: str) -> None:
        """Check that a client subscribes from the position that it has (I21)."""
        message = orjson.loads(text)
        position = self._page.positions.get(message.get("channel"))
        # A poll that is answered in the moment of the sending can overtake a queued message.
        is_overtaken = self._poll_answered == self._checker.now_ms
        if (
            message["type"] == "subscribe"
            and position
            and "position" not in message
            and not is_overtaken
        ):
            self._fail("I21", f"subscribes from now, and has {position}")

    def received(self, connection: object, text: str) -> None:
        """Check that the events on one connection continue one another (I21)."""
        message = orjson.loads(text)
        key = connection, message.get("channel")
        match message["type"]:
            case "event" if key in self._sent:
                self._check_event(key, message)
            case "subscribed" | "reset" if "epoch" in message and not message.get("more"):
                self._sent[key] = message["epoch"], message["offset"]
            case "subscribed" | "reset" | "refused":
                # Nothing is sent before the client has asked again.
                self._sent.pop(key, None)
            case "error":
                self._check_refusal(message.get("reason"))

    def refused(self, body: bytes) -> None:
        """Check the reason for which a token is not accepted."""
        self._check_refusal(orjson.loads(body)["error"]["code"])

    def answered(self, path: str, asked: bytes, answer: bytes) -> None:
        """Check the answer to a request."""
        if path.endswith("/connect"):
            self._check_descriptor(answer)
        elif path.endswith("/poll"):
            self._poll_answered = self._checker.now_ms
            self._check_poll(asked, answer)

    def _check_refusal(self, reason: object) -> None:
        """Check that a token is known while each program has the secret that signed it (I24)."""
        if reason == "token_unknown_key" and not self._checker.is_secret_dropped:
            self._fail("I24", "has a token that its server does not know")

    def _check_descriptor(self, body: bytes) -> None:
        """Check that a client with the newest descriptor asks for no other (I20)."""
        process, newest = len(self._page.client_ids), self._store.last_generation
        generation = orjson.loads(body)["generation"]
        if self._generation == (process, newest) and not self._checker.affects(DENYING, self._page):
            self._fail("I20", f"has generation {newest}, and asked again: {generation}")
        known = self._generation[1] if self._generation[0] == process else 0
        self._generation = process, max(generation, known)

    def _check_poll(self, asked: bytes, answer: bytes) -> None:
        """Check that the answer to a poll continues the position in the request (I12)."""
        positions = orjson.loads(asked)["positions"]
        for channel, part in orjson.loads(answer)["channels"].items():
            here, top = positions.get(channel), part.get("position")
            if here and top and (problem := self._poll_problem(_place(here), part, _place(top))):
                self._fail("I12", f"asked from {_place(here)}, and got {problem}")

    def _check_event(self, key: tuple[object, str], message: Mapping[str, Any]) -> None:
        place = message["epoch"], message["offset"]
        epoch, offset = self._sent[key]
        self._sent[key] = place
        if place != (epoch, offset + 1):
            self._fail("I21", f"was sent {place} of {key[1]} after {(epoch, offset)}")

    def _poll_problem(
        self, here: FullPosition, part: Mapping[str, Any], top: FullPosition
    ) -> str | None:
        reason = part.get("reset")
        if reason:
            is_lost = here in self._store.rolled_back
            return f"a reset ({reason})" if reason in ROLLED_BACK and not is_lost else None
        before = self._store.previous[_place(part["events"][0])] if part["events"] else top
        is_other = None not in (here[2], before[2]) and before != here
        return f"what follows {before}" if is_other else None

    def _fail(self, invariant: str, message: str) -> None:
        self._checker.fail(invariant, self._page, message)


def _place(fields: Mapping[str, Any]) -> FullPosition:
    return fields["epoch"], fields["offset"], fields.get("id")
