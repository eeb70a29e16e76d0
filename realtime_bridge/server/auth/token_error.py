"""Error of a token that is not valid."""


class TokenError(Exception):
    """The token is invalid; the message gives the reason, and nothing of the token.

    Args:
        message: sentence for people.
        code: stable word for programs. After `token_expired`, `token_not_yet_valid` and
            `token_unknown_key` a fresh token may be accepted.

    """

    def __init__(self, message: str, *, code: str = "bad_token") -> None:
        super().__init__(message)
        self.code = code
