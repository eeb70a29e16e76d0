"""Comparison of real traffic with the HTTP and wire reference: docs/reference/."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jsonschema_rs
import orjson
import yaml

from realtime_bridge.server.http.request import ASGIApplication, Message, Receive, Scope, Send

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
OPENAPI: dict[str, Any] = yaml.safe_load((FOLDER / "openapi.yaml").read_text())
ASYNCAPI: dict[str, Any] = yaml.safe_load((FOLDER / "asyncapi.yaml").read_text())
BASE = "https://reference.test/"
METHODS = {"get", "post"}
STREAM = "text/event-stream"

_REGISTRY = jsonschema_rs.Registry(
    [(f"{BASE}openapi.yaml", OPENAPI), (f"{BASE}asyncapi.yaml", ASYNCAPI)]
)


def operations() -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield the path, the method and the description of each operation."""
    for path, item in OPENAPI["paths"].items():
        for method in sorted(METHODS & item.keys()):
            yield path, method, item[method]


def messages(operation: str) -> list[str]:
    """Return the names of the messages of an operation of AsyncAPI."""
    references = ASYNCAPI["operations"][operation]["messages"]
    return [reference["$ref"].rpartition("/")[2] for reference in references]


def check_frame(operation: str, frame: Mapping[str, Any]) -> str:
    """Return the name of a frame's message; a frame of no message of the reference is an error."""
    name = str(frame.get("type"))
    assert name in messages(operation), f"asyncapi.yaml: {operation} has no {name}"
    check_payload(name, frame)
    return name


def check_payload(message: str, payload: object) -> None:
    """Compare a payload with the schema of a message."""
    problem = _problem(f"asyncapi.yaml#/components/messages/{message}/payload", payload)
    assert problem is None, f"asyncapi.yaml: {message}: {problem}: {payload}"


class Recorder:
    """ASGI application that compares the requests and answers of another one with the reference.

    Args:
        app: the other application.
        mount: the URL path of the bridge in it.

    """

    def __init__(self, app: ASGIApplication, mount: str) -> None:
        self._app = app
        self._mount = mount
        self.differences: list[str] = []
        self.answered: set[tuple[str, str, int]] = set()
        """Path and method of each operation that was answered, and the status."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a connection on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, self._mount)

        async def receive_part() -> Message:
            message = await receive()
            exchange.request += message.get("body", b"")
            return message

        async def send_part(message: Message) -> None:
            if exchange.add(message):
                self._compare(exchange)
            await send(message)

        await self._app(scope, receive_part, send_part)

    def _compare(self, exchange: "Exchange") -> None:
        try:
            path, method = exchange.check()
        except AssertionError as error:
            self.differences.append(str(error))
        else:
            self.answered.add((path, method, exchange.status))


class Exchange:
    """Request and its answer.

    Args:
        scope: the ASGI scope.
        mount: the URL path of the bridge.

    """

    def __init__(self, scope: Scope, mount: str) -> None:
        # As the client sent it: another spelling of a route is no route.
        path = scope["raw_path"].partition(b"?")[0].decode("latin-1")
        # Pusher's calls are at the root too.
        is_below = path.startswith((f"{mount}/", "/apps/"))
        self._path = path.removeprefix(mount) if is_below else "outside of the bridge"
        method = scope["method"].lower()
        # Streams alone have no answer to HEAD.
        self._method = "get" if method == "head" and not path.endswith("/sse") else method
        self._has_body = method != "head"
        self._headers = {
            name.decode().lower(): text.decode("latin-1") for name, text in scope["headers"]
        }
        self._query = parse_qs(scope["query_string"].decode("latin-1"))
        self.request = b""
        self.status = 0
        self._answer = b""
        self._type = ""

    def add(self, message: Message) -> bool:
        """Add a part of the answer, and return whether it is the last to compare."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = dict(message["headers"])
            self._type = headers.get(b"content-type", b"").decode().partition(";")[0]
            return self._type == STREAM
        self._answer += b"" if self._type == STREAM else message.get("body", b"")
        return self._type != STREAM and not message.get("more_body", False)

    def check(self) -> tuple[str, str]:
        """Return the path and method of the operation, after the comparison."""
        path = _find_path(self._path)
        operation = OPENAPI["paths"][path].get(self._method) if path else None
        if path is None or operation is None:
            assert self.status in (204, 400, 403, 404, 405, 426, 503), f"openapi.yaml has no {self}"
            if self._type == "application/json" and self._has_body:
                self._compare("openapi.yaml#/components/schemas/Error", self._answer)
            return path or "", self._method
        if (self.status, self._type, self._answer) == (400, "", b""):
            return path, self._method  # the client has left, and gets no answer
        responses = operation["responses"]
        assert str(self.status) in responses, f"openapi.yaml: {self}: an answer with this status"
        self._check_answer(_resolve(responses[str(self.status)]).get("content", {}))
        if self.status < 300:
            self._check_parameters(operation.get("parameters", []))
            self._check_request(operation.get("requestBody"))
        return path, self._method

    def _check_answer(self, content: Mapping[str, Any]) -> None:
        if not content:
            assert not self._answer, f"openapi.yaml: {self}: a body"
            return
        assert self._type in content, f"openapi.yaml: {self}: the content type {self._type!r}"
        if self._type == "application/json" and self._has_body:
            self._compare_with(content[self._type]["schema"], self._answer)

    def _check_request(self, body: Mapping[str, Any] | None) -> None:
        """Check what the server accepted."""
        content = self._headers.get("content-type", "").partition(";")[0].strip().lower()
        if body and content == "application/json" and self.request:
            self._compare_with(body["content"][content]["schema"], self.request)

    def _check_parameters(self, parameters: list[Mapping[str, Any]]) -> None:
        for parameter in map(_resolve, parameters):
            name, values = parameter["name"], self._query.get(parameter["name"])
            if parameter["in"] != "query":
                continue
            assert values or not parameter.get("required"), f"openapi.yaml: {self}: no {name}"
            is_list = parameter["schema"].get("type") == "array"
            if values:
                value = list(dict.fromkeys(values)) if is_list else values[-1]
                self._compare_with(parameter["schema"], orjson.dumps(value))

    def _compare_with(self, schema: Mapping[str, Any], body: bytes) -> None:
        self._compare(orjson.dumps(_absolute(schema)).decode(), body)

    def _compare(self, schema: str, body: bytes) -> None:
        problem = _problem(schema, orjson.loads(body))
        assert problem is None, f"openapi.yaml: {self}: {problem}: {body[:500]!r}"

    def __str__(self) -> str:
        return f"{self._method.upper()} {self._path} {self.status}"


def _find_path(path: str) -> str | None:
    """Return the path of the reference that a request's path matches; a literal one goes first."""
    return next((name for name, pattern in _patterns() if pattern.fullmatch(path)), None)


@cache
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    paths = sorted(OPENAPI["paths"], key=lambda path: path.count("{"))
    return [(path, re.compile(_pattern(path))) for path in paths]


def _pattern(path: str) -> str:
    if path == "/{script}":
        scripts = OPENAPI["paths"][path]["get"]["parameters"][0]["schema"]["enum"]
        return f"/({'|'.join(scripts)})"
    return re.sub(r"\{\w+\}", "[^/]+", path)


def _resolve(item: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = item.get("$ref")
    if reference is None:
        return item
    found: Any = OPENAPI
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    resolved: Mapping[str, Any] = found
    return resolved


def _absolute(schema: Any) -> Any:
    """Return a schema of the file as one that stands for itself."""
    if isinstance(schema, list):
        return [_absolute(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: f"{BASE}openapi.yaml{value}" if name == "$ref" else _absolute(value)
        for name, value in schema.items()
    }


def _problem(schema: str, value: object) -> str | None:
    """Return why a value does not match a schema: a reference, or JSON."""
    error = next(_validator(schema).iter_errors(value), None)
    return (
        None if error is None else f"{error.message} at /{'/'.join(map(str, error.instance_path))}"
    )


@cache
def _validator(schema: str) -> jsonschema_rs.Validator:
    fields = orjson.loads(schema) if schema.startswith("{") else {"$ref": BASE + schema}
    return jsonschema_rs.Draft202012Validator(fields, registry=_REGISTRY)
