"""Secrets that sign webhooks, in the form of Standard Webhooks."""

import base64
import binascii

PREFIX = "whsec_"
MIN_KEY, MAX_KEY = 24, 64
"""Bounds of a signing key, in bytes."""


def signing_keys(text: str) -> tuple[bytes, ...]:
    """Return the keys of secrets such as `whsec_…`, which are separated by commas.

    Raises:
        ValueError: a secret has another form; the message has its number, never the secret.

    """
    keys = []
    for number, secret in enumerate(text.split(","), 1):
        try:
            key = base64.b64decode(secret.strip().removeprefix(PREFIX), validate=True)
        except binascii.Error:
            key = b""
        if not secret.strip().startswith(PREFIX) or not MIN_KEY <= len(key) <= MAX_KEY:
            raise ValueError(
                f"secret {number} is not {PREFIX} and {MIN_KEY} to {MAX_KEY} bytes in Base64"
            )
        keys.append(key)
    return tuple(keys)
