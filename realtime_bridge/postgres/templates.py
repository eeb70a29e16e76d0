"""Templates such as `user-{user_id}`: text with names of columns, converted to SQL."""

import re
from collections.abc import Collection

from psycopg.sql import SQL, Composable, Identifier, Literal

from realtime_bridge.errors import ConfigurationError

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")

OPERATION = "op"
"""The placeholder for the operation: `insert`, `update` or `delete`."""


class Template:
    """Text with columns as placeholders.

    Args:
        text: the template.
        columns: the table's columns.
        purpose: the template's purpose, for messages.

    Raises:
        ConfigurationError: the template names an unknown column, or a brace has no partner.

    """

    def __init__(self, text: str, columns: Collection[str], *, purpose: str) -> None:
        literals = _PLACEHOLDER.split(text)[::2]
        if not text or any("{" in literal or "}" in literal for literal in literals):
            raise ConfigurationError(f"Bad {purpose} {text!r}: write it like 'user-{{user_id}}'")
        self.text = text
        self.columns: list[str] = [name for name in _PLACEHOLDER.findall(text) if name != OPERATION]
        unknown = [name for name in self.columns if name not in columns]
        if unknown:
            raise ConfigurationError(
                f"Bad {purpose} {text!r}: the table has no column {unknown[0]!r}. "
                f"Use one of {', '.join(sorted(columns))}"
            )

    def expression(self, row: str, operation: str) -> Composable:
        """Return SQL for the text with the values of `row`; NULL if one of the values is NULL."""
        parts: list[Composable] = []
        for number, part in enumerate(_PLACEHOLDER.split(self.text)):
            if number % 2 == 0:  # re.split alternates literals and placeholders
                parts.append(Literal(part))
            elif part == OPERATION:
                parts.append(Literal(operation))
            else:
                parts.append(SQL("{}.{}::text").format(Identifier(row), Identifier(part)))
        return SQL(" || ").join(parts)

    def after(self, start: str) -> "Template | None":
        """Return the rest of the template after `start`; None if it starts in another way."""
        if not self.text.startswith(start):
            return None
        return Template(self.text.removeprefix(start), self.columns, purpose="rest of a template")
