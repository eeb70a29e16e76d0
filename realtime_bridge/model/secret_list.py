"""Several secrets in one text: during a rotation the old and the new one are both valid."""

MIN_SECRET_BYTES = 32
"""Length of the hash in HS256; RFC 7518 §3.2 demands a key of at least this length."""


def split_secrets(text: str) -> tuple[str, ...]:
    """Return the secrets of a text that separates them by commas: the first signs, all verify.

    Raises:
        ValueError: the text has no secret.

    """
    secrets = tuple(secret for part in text.split(",") if (secret := part.strip()))
    if not secrets:
        raise ValueError("it has no secret: write one, or several separated by commas")
    return secrets


def check_secrets(text: str) -> str:
    """Return the text after a check of each secret's length.

    Raises:
        ValueError: a secret is too short; the message has its number, never the secret.

    """
    secrets = split_secrets(text)
    for number, secret in enumerate(secrets, 1):
        length = len(secret.encode())  # HS256 signs with bytes, and a character may be several
        if length < MIN_SECRET_BYTES:
            which = f"secret {number} of {len(secrets)}: " if len(secrets) > 1 else ""
            raise ValueError(
                f"{which}{length} bytes are too short, use at least {MIN_SECRET_BYTES}"
            )
    return text
