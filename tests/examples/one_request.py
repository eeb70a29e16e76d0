"""What a serverless host does for one request: import the application, ask it once, and end."""

import asyncio
import base64
import json
import os
import sys
from typing import Any

sys.path.insert(0, "api")


async def answer(asked: dict[str, Any]) -> dict[str, Any]:
    from index import app  # type: ignore[import-not-found]

    sent: list[dict[str, Any]] = []
    body = {"type": "http.request", "body": base64.b64decode(asked["body"]), "more_body": False}

    async def receive() -> dict[str, Any]:
        return body

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": asked["method"],
        "scheme": "https",
        "path": asked["path"],
        "raw_path": asked["path"].encode(),
        "query_string": asked["query"].encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in asked["headers"]],
    }
    await app(scope, receive, send)
    text = b"".join(message.get("body", b"") for message in sent[1:])
    headers = [(name.decode(), value.decode()) for name, value in sent[0]["headers"]]
    return {"status": sent[0]["status"], "headers": headers, "body": text.decode()}


async def main() -> None:
    print(json.dumps(await answer(json.load(sys.stdin))), flush=True)
    os._exit(0)  # hosts freeze a process and kill it: nothing is closed


asyncio.run(main())
