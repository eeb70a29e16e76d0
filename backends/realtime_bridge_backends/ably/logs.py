"""What the Ably SDK may log: no token, and nothing where an application has not asked for it."""

import logging
import re

_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*|(?<=Token: )\S+|(?<=accessToken=)[^&\s]+")

_LOGGERS = ("ably.rest.auth", "ably.transport.websockettransport")
"""Those that log tokens, and addresses with tokens in them."""


def scrubbed(text: str) -> str:
    """Return the text without the tokens in it."""
    return _TOKEN.sub("…", text)


class TokenFilter(logging.Filter):
    """Takes tokens out of records."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let the record through, scrubbed."""
        record.msg, record.args = scrubbed(record.getMessage()), None
        return True


def install() -> None:
    """Scrub what the SDK logs from now on; each drop of a connection is an error to it."""
    _quiet("ably")
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(one, TokenFilter) for one in logger.filters):
            logger.addFilter(TokenFilter())


def _quiet(name: str) -> None:
    """Keep records from standard error where logging was not configured, as libraries should."""
    logger = logging.getLogger(name)
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
