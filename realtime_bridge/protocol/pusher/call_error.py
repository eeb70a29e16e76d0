"""Refusal of a call of a server SDK."""


class CallError(Exception):
    """Refusal of a call: an HTTP status, and a text for people.

    Args:
        status: the HTTP status.
        text: the body of the response.

    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
