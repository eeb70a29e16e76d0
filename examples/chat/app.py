"""Web server: sign-in, the page, conversations, and the bridge."""

import os
import secrets
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field
from starlette.middleware.sessions import SessionMiddleware

from broker import celery
from conversations import Conversations
from realtime_bridge.server import Bridge

PASSWORDS = {"ann": "secret", "ben": "secret"}  # in place of your table of users
PAGE = Path(os.environ["CHAT_DATA"]) / "page"

conversations = Conversations.from_env()


def current_user(request: Any) -> str | None:
    """Return the user of the session, or None."""
    user: str | None = request.scope["session"].get("user")
    return user


bridge = Bridge.from_env(authenticate=current_user)


@bridge.channel("chat.{owner}.{chat}")
@bridge.control("chat.{owner}.{chat}")
async def may_read_and_stop(user: str, owner: str, chat: str) -> bool:
    """Return whether the conversation is the user's own."""
    return user == owner


app = FastAPI(lifespan=bridge.lifespan)
app.mount("/realtime", bridge)
app.mount("/static", StaticFiles(directory=PAGE), name="static")
# A new key at each start: people sign in again.
app.add_middleware(
    SessionMiddleware, secret_key=secrets.token_hex(), session_cookie="chat", same_site="strict"
)


def signed_in(request: Request) -> str:
    """Return the user of a request."""
    if user := current_user(request):
        return user
    raise HTTPException(401, "Sign in first")


User = Annotated[str, Depends(signed_in)]
ChatId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")]


class Credentials(BaseModel):
    """Name and password."""

    user: str
    password: str


class Part(BaseModel):
    """Part of a message of the AI SDK."""

    type: str
    text: str = ""


class ChatMessage(BaseModel):
    """Message of the AI SDK."""

    id: str
    role: Literal["user", "assistant", "system"]
    parts: list[Part]


class Chat(BaseModel):
    """Body that the AI SDK's transports send."""

    id: ChatId
    messages: Annotated[list[ChatMessage], Field(min_length=1)]


@app.get("/")
@app.get("/plain")
def page() -> FileResponse:
    """Return the page."""
    return FileResponse(PAGE / "index.html")


@app.post("/sign-in")
def sign_in(request: Request, credentials: Credentials) -> dict[str, str]:
    """Sign a user in."""
    password = PASSWORDS.get(credentials.user, "")
    if not password or not secrets.compare_digest(password, credentials.password):
        raise HTTPException(401, "The name or the password is wrong")
    request.session["user"] = credentials.user
    return {"user": credentials.user}


@app.get("/api/me")
def me(request: Request) -> dict[str, str | None]:
    """Return the user who is signed in."""
    return {"user": current_user(request)}


@app.get("/api/chats/{chat}")
def history(user: User, chat: ChatId) -> dict[str, Any]:
    """Return a conversation, and the stream that a worker writes or will write."""
    channel = f"chat.{user}.{chat}"
    # This order: an answer that comes in between is in the messages, and its stream is replayed.
    pending = conversations.pending(channel)
    return {"messages": conversations.messages(channel), "pending": pending}


@app.post("/api/chat", status_code=202)
async def ask(user: User, chat: Chat) -> dict[str, str]:
    """Queue the answer to a question, and return the place of its stream."""
    question = chat.messages[-1]
    text = "".join(part.text for part in question.parts)
    channel, stream = f"chat.{user}.{chat.id}", secrets.token_hex(8)
    conversations.ask(channel, question.id, text, stream=stream)
    data = {"id": question.id, "text": text, "stream": stream}
    await bridge.publish(channel, "chat.question", data)  # for the user's other tabs
    celery.send_task("answer", kwargs={"channel": channel, "stream": stream})
    return {"channel": channel, "stream": stream}
