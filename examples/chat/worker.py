"""Celery worker: writes the answer to a question into a stream.

Its worker is a process of its own: `celery -A worker worker`.
"""

from broker import celery
from conversations import Conversations
from model import reply
from realtime_bridge import BlockingBroadcaster

broadcaster = BlockingBroadcaster.from_env()
conversations = Conversations.from_env()


@celery.task(name="answer")
def answer(*, channel: str, stream: str) -> None:
    """Answer the last question of a channel's conversation."""
    try:
        with (
            broadcaster.stream(channel, id=stream) as output,
            reply(conversations.messages(channel)) as tokens,
        ):
            output.write(tokens)
    finally:
        # What all pages show, also after a stop or a failure.
        if snapshot := broadcaster.read_stream(channel, stream):
            conversations.answer(channel, stream, snapshot.text)
