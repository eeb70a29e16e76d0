"""Templates such as `user-{user_id}`: text with the names of columns, turned into SQL."""

import re
from collections.abc import Collection

from psycopg.sql import SQL, Composable, Identifier, Literal

from realtime_bridge.errors import ConfigurationError

_HOLE = re.compile(r"\{([^{}]*)\}")

OPERATION = "op"
"""The hole that is filled with `insert`, `update` or `delete`."""


class Template:
    """A text whose holes are columns.

    Args:
        text: the template.
        columns: those that the table has.
        what: what it is for, for messages.

    Raises:
        ConfigurationError: it names a column that is not there, or has a brace without its other.

    """

    def __init__(self, text: str, columns: Collection[str], *, what: str) -> None:
        literals = _HOLE.split(text)[::2]
        if not text or any("{" in literal or "}" in literal for literal in literals):
            raise ConfigurationError(f"Bad {what} {text!r}: write it like 'user-{{user_id}}'")
        self.text = text
        self.columns = [name for name in _HOLE.findall(text) if name != OPERATION]
        unknown = [name for name in self.columns if name not in columns]
        if unknown:
            raise ConfigurationError(
                f"Bad {what} {text!r}: the table has no column {unknown[0]!r}, "
                f"but {', '.join(sorted(columns))}"
            )

    def expression(self, row: str, operation: str) -> Composable:
        """Return SQL that is the text filled from `row`: NULL where one of its columns is."""
        parts: list[Composable] = []
        for number, part in enumerate(_HOLE.split(self.text)):
            if number % 2 == 0:
                parts.append(Literal(part))
            elif part == OPERATION:
                parts.append(Literal(operation))
            else:
                parts.append(SQL("{}.{}::text").format(Identifier(row), Identifier(part)))
        return SQL(" || ").join(parts)
