"""Secrets of this process, which no message may have: servers quote them in their errors.

Redis, for one, answers AUTH under another name with "unknown command, with args beginning with:"
and the password.
"""

_MIN_LENGTH = 4
"""Length from which a secret is hidden; a shorter one is a part of ordinary words."""

_known: set[str] = set()


def add_secret(text: str | None) -> None:
    """Hide a text from now on."""
    if text and len(text) >= _MIN_LENGTH:
        _known.add(text)


def hide_secrets(text: str) -> str:
    """Return a text without the secrets."""
    for secret in _known:
        text = text.replace(secret, "…")
    return text


def hide_in_error(error: BaseException | None) -> None:
    """Remove the secrets from an error of another library and its causes: tracebacks show them."""
    while error is not None:
        error.args = tuple(
            hide_secrets(part) if isinstance(part, str) else part for part in error.args
        )
        error = error.__cause__ or error.__context__
