"""Server of Django Channels with channels_redis: a consumer in a group, on uvicorn."""

import sys

import django
from django.conf import settings
from driver import PublishDriver
from envelope import envelope
from uvicorn_server import serve

settings.configure(
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="of the bench",
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": [sys.argv[2]], "capacity": 10_000},
        }
    },
)
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402 -- after set-up
from channels.layers import get_channel_layer  # noqa: E402


class Consumer(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        await self.channel_layer.group_add("bench-0", self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard("bench-0", self.channel_name)

    async def bench_step(self, event: dict[str, str]) -> None:
        await self.send(text_data=event["text"])


async def publish(turn: list[tuple[str, dict[str, object]]]) -> None:
    for channel, data in turn:
        text = envelope(channel, data)
        await get_channel_layer().group_send(channel, {"type": "bench.step", "text": text})


serve(Consumer.as_asgi(), PublishDriver(sys.argv[1], publish), lifespan="off")
