"""Conversations of the application: a table of SQLite."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

TABLE = """
CREATE TABLE IF NOT EXISTS messages (
    number INTEGER PRIMARY KEY, channel TEXT, id TEXT, role TEXT, text TEXT, stream TEXT,
    UNIQUE (channel, id)
)
"""


@dataclass(frozen=True, slots=True)
class Message:
    """Message of a conversation; the id of an answer is the id of its stream."""

    id: str
    role: Literal["user", "assistant"]
    text: str


class Conversations:
    """Messages by the channel of their conversation."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._open() as database:
            database.execute(TABLE)

    @classmethod
    def from_env(cls) -> Self:
        """Open the file in the folder `CHAT_DATA`."""
        return cls(Path(os.environ["CHAT_DATA"]) / "conversations.db")

    def ask(self, channel: str, message: str, text: str, *, stream: str) -> None:
        """Add a question, and the stream that will answer it."""
        self._add(channel, message, "user", text, stream)

    def answer(self, channel: str, stream: str, text: str) -> None:
        """Add the answer of a stream, or replace it after another attempt."""
        self._add(channel, stream, "assistant", text, None)

    def messages(self, channel: str) -> list[Message]:
        """Return the messages, the oldest first."""
        query = "SELECT id, role, text FROM messages WHERE channel = ? ORDER BY number"
        with self._open() as database:
            return [Message(*row) for row in database.execute(query, (channel,))]

    def pending(self, channel: str) -> str | None:
        """Return the stream of the last question that has no answer yet."""
        query = (
            "SELECT stream FROM messages AS question WHERE channel = ? AND stream IS NOT NULL "
            "AND NOT EXISTS (SELECT 1 FROM messages AS answer WHERE answer.channel = "
            "question.channel AND answer.id = question.stream) ORDER BY number DESC LIMIT 1"
        )
        with self._open() as database:
            row = database.execute(query, (channel,)).fetchone()
        return row and str(row[0])

    def _add(self, channel: str, name: str, role: str, text: str, stream: str | None) -> None:
        statement = (
            "INSERT INTO messages (channel, id, role, text, stream) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (channel, id) DO UPDATE SET text = excluded.text"
        )
        with self._open() as database:
            database.execute(statement, (channel, name, role, text, stream))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        # A connection for each call: a worker forks, and the server has threads.
        database = sqlite3.connect(self._path, timeout=10)
        try:
            with database:
                yield database
        finally:
            database.close()
