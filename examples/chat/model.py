"""Language model: pydantic-ai with a stand-in, or with the model that `CHAT_MODEL` names."""

import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pydantic_ai import Agent
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    UserPromptPart,
)
from pydantic_ai.models.test import TestModel

from conversations import Message

MODEL = os.environ.get("CHAT_MODEL")
"""Model's name, such as `openai:gpt-5-mini`; without a name, the stand-in answers."""

WORDS = int(os.environ.get("CHAT_WORDS", "160"))
WORDS_PER_SECOND = float(os.environ.get("CHAT_WORDS_PER_SECOND", "20"))
SENTENCES = (
    "A worker wrote this sentence, and every page shows it once.",
    "Reload the page: the text is still there, and goes on.",
    "Open a second tab: it shows the same words at the same moment.",
    "Press Stop: the worker learns of it, and so does each tab.",
    "Kill the worker: another one begins the answer again.",
    "Each word was appended to a stream, in microseconds.",
    "The log keeps each word, so no page has to.",
    "A socket that is lost in the middle loses no word.",
    "These sentences come in another order each time.",
    "With CHAT_MODEL, a real model answers in their place.",
)

agent = Agent(instructions="Answer in plain text, in short paragraphs.")


@contextmanager
def reply(messages: Sequence[Message]) -> Iterator[Iterator[str]]:
    """Yield the tokens of the answer to the last message."""
    *history, question = messages
    with agent.run_stream_sync(
        question.text,
        model=MODEL or TestModel(custom_output_text=_invent()),
        message_history=[_as_history(message) for message in history],
    ) as result:
        tokens = result.stream_text(delta=True, debounce_by=None)
        yield tokens if MODEL else _paced(tokens)


def _as_history(message: Message) -> ModelMessage:
    if message.role == "user":
        return ModelRequest([UserPromptPart(message.text)])
    return ModelResponse([TextPart(message.text)])


def _invent() -> str:
    words: list[str] = []
    while len(words) < WORDS:
        words += random.choice(SENTENCES).split()
    return " ".join(words[:WORDS])


def _paced(tokens: Iterator[str]) -> Iterator[str]:
    """Yield tokens as slowly as a model does."""
    start = time.monotonic()
    for number, token in enumerate(tokens):
        time.sleep(max(0.0, start + number / WORDS_PER_SECOND - time.monotonic()))
        yield token
