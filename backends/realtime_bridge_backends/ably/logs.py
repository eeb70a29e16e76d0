"""Filters on the Ably SDK's loggers: no token is logged."""

import logging
import re

_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*|(?<=Token: )\S+|(?<=accessToken=)[^&\s]+")
"""A JWT (its header begins with `{"`, in base64 `eyJ`), and the two places of other tokens."""

_LOGGERS = ("ably.rest.auth", "ably.transport.websockettransport")
"""Loggers whose records hold tokens, or URLs with tokens (ably 3.1.4)."""


def redact_tokens(text: str) -> str:
    """Return the text without its tokens."""
    return _TOKEN.sub("…", text)


class TokenFilter(logging.Filter):
    """Filter that removes tokens from records."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the record, and accept it."""
        record.msg, record.args = redact_tokens(record.getMessage()), None
        return True


def install_filters() -> None:
    """Redact the SDK's records, and keep them from standard error unless logging is configured.

    The SDK logs every lost connection as an error, and Python's last-resort handler prints errors.
    """
    sdk = logging.getLogger("ably")
    if not sdk.handlers:
        sdk.addHandler(logging.NullHandler())
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(existing, TokenFilter) for existing in logger.filters):
            logger.addFilter(TokenFilter())
