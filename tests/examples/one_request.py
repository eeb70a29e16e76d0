"""Process of a serverless host for one request: import the application, call it, and end."""

import asyncio
import base64
import json
import os
import signal
import sys
from typing import Any

sys.path.insert(0, "api")


async def handle(request: dict[str, Any]) -> dict[str, Any]:
    from index import app  # type: ignore[import-not-found]

    sent: list[dict[str, Any]] = []
    body = {"type": "http.request", "body": base64.b64decode(request["body"]), "more_body": False}

    async def receive() -> dict[str, Any]:
        return body

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request["method"],
        "scheme": "https",
        "path": request["path"],
        "raw_path": request["path"].encode(),
        "query_string": request["query"].encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in request["headers"]],
    }
    await app(scope, receive, send)
    text = b"".join(message.get("body", b"") for message in sent[1:])
    headers = [(name.decode(), value.decode()) for name, value in sent[0]["headers"]]
    return {"status": sent[0]["status"], "headers": headers, "body": text.decode()}


async def main() -> None:
    print(json.dumps(await handle(json.load(sys.stdin))), flush=True)
    # A host freezes a process and kills it: nothing is closed.
    os.kill(os.getpid(), signal.SIGKILL)


asyncio.run(main())
