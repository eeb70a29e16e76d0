"""Commands `types` and `asyncapi`, checked by TypeScript and by AsyncAPI's JSON Schema."""

import json
import subprocess
from pathlib import Path
from typing import Any, Literal

import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from pydantic import BaseModel, Field, RootModel, create_model

from realtime_bridge.cli.asyncapi_document import asyncapi_document
from realtime_bridge.cli.typescript import declaration_file
from realtime_bridge.model.declaration import Declaration
from tests.cli.processes import COMMAND, complaint, run
from tests.shop import OrderPaid

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "js"
NODE = Path(COMMAND).with_name("node")
TSC = CLIENT / "node_modules" / "typescript" / "bin" / "tsc"

PAGE = """
import { HybridClient } from 'realtime-bridge';
import { useChannel } from 'realtime-bridge/react';

export function Page() {
  useChannel('user-42', (event) => {
    if (event.event === 'order.paid') {
      const total: number = event.data.total;
      const count: number | undefined = event.data.items[0]?.count;
      // @ts-expect-error -- the field has another name
      console.log(total, count, event.data.totl);
      // @ts-expect-error -- the data has no such field
      console.log(event.data.user_id);
    }
    // @ts-expect-error -- the event has another name
    if (event.event === 'order.shipped') console.log(event);
    if (event.event === 'job.progress') console.log(event.data.progress);
  });
  return null;
}

new HybridClient().subscribe('shop.berlin', {
  onEvent: (event) => {
    if (event.event === 'shop closed') console.log(event.data.untilDay.length);
  },
});
"""


def compiler(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(NODE), str(TSC), *map(str, arguments)]
    return subprocess.run(command, cwd=CLIENT, capture_output=True, text=True, check=False)


def declarations_of(module: str) -> str:
    result = run("types", module, folder=ROOT)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_types_make_a_wrong_name_or_field_a_compile_error(tmp_path: Path) -> None:
    package, modules = tmp_path / "package", CLIENT / "node_modules"
    built = compiler("-p", "tsconfig.build.json", "--noCheck", "--outDir", package)
    assert built.returncode == 0, built.stdout
    (tmp_path / "realtime.d.ts").write_text(declarations_of("tests:shop"))
    (tmp_path / "page.ts").write_text(PAGE)
    paths = {
        "realtime-bridge": [str(package / "index.d.ts")],
        "realtime-bridge/react": [str(package / "react" / "index.d.ts")],
        "react": [str(modules / "@types" / "react")],
    }
    options = {"strict": True, "noEmit": True, "types": [], "paths": paths}
    options |= {"module": "NodeNext", "target": "ES2022", "lib": ["ES2022", "DOM"]}
    project = {"compilerOptions": options, "files": ["realtime.d.ts", "page.ts"]}
    (tmp_path / "tsconfig.json").write_text(json.dumps(project))
    checked = compiler("-p", tmp_path)
    assert checked.returncode == 0, checked.stdout


def test_asyncapi_document_is_valid(tmp_path: Path) -> None:
    result = run("asyncapi", "tests.shop", folder=ROOT)
    document = json.loads(result.stdout)
    specification = CLIENT / "node_modules/@asyncapi/specs/schemas/3.0.0-without-$id.json"
    Draft7Validator(json.loads(specification.read_bytes())).validate(document)
    assert set(document["channels"]) == {"user-_user_id_", "shop._shop_"}
    message = document["components"]["messages"]["OrderPaid"]
    assert (message["name"], message["x-key"]) == ("order.paid", "order-{id}")
    # The schema accepts what is published.
    data = OrderPaid(id=7, user_id="42", total=1).model_dump(mode="json")
    schema = {"$ref": message["payload"]["$ref"], "components": document["components"]}
    Draft202012Validator(schema).validate(data)
    del data["total"]
    assert not Draft202012Validator(schema).is_valid(data)


def test_channels_of_similar_names_have_ids_of_their_own() -> None:
    patterns = ("a,b", "a;b", "a_b-2", "a_b", "a;b")
    models = [create_model(f"Made{number}") for number in range(len(patterns))]
    document = asyncapi_document(
        {
            model: Declaration(f"made.{number}", pattern, None)
            for number, (model, pattern) in enumerate(zip(models, patterns, strict=True))
        }
    )
    channels = {name: channel["address"] for name, channel in document["channels"].items()}
    assert channels == {"a_b": "a,b", "a_b-2": "a;b", "a_b-2-2": "a_b-2", "a_b-3": "a_b"}
    assert set(document["channels"]["a_b-2"]["messages"]) == {"Made1", "Made4"}
    assert set(document["operations"]) == {f"send-{name}" for name in channels}


def types_of(annotation: Any) -> str:
    model = RootModel[annotation]
    text = declaration_file({model: Declaration("made", "job", None)}, "app")
    return text.rpartition(" = ")[2].rstrip(";\n")


@pytest.mark.parametrize(
    ("annotation", "typescript"),
    [
        (Any, "unknown"),
        (bool | int | None, "boolean | number | null"),
        (list[str | None], "Array<string | null>"),
        (tuple[int, str], "[number, string]"),
        (tuple[int, ...], "Array<number>"),
        (tuple[()], "[]"),
        (dict[str, list[int]], "{ [name: string]: Array<number> }"),
        (dict[str, Any], "{ [name: string]: unknown }"),
        (dict[Literal["x", "y"], int], '{ [name in "x" | "y"]?: number }'),
    ],
)
def test_type_of_an_annotation(annotation: Any, typescript: str) -> None:
    assert types_of(annotation) == typescript


class Array(BaseModel):
    """Model with the name of a type of TypeScript."""

    numbers: list[int]
    note: str | None = Field(default=None, exclude_if=lambda note: note is None)


class Record(RootModel[dict[str, "Record | Array"]]):
    """Model that has objects of its own class."""


def test_names_and_types_of_typescript_are_models_too(tmp_path: Path) -> None:
    declarations = {Array: Declaration("a", "job", None), Record: Declaration("r", "job", None)}
    text = declaration_file(declarations, "app").replace("import 'realtime-bridge';", "")
    text = text.replace("module 'realtime-bridge'", "global")  # the client is not built here
    page = """
    const array: _Array = { numbers: [1] };
    export const record: Record = { one: array, more: { other: array } };
    // @ts-expect-error -- a field has another type
    export const wrong: Record = { one: { more: 1 } };
    """
    (tmp_path / "page.ts").write_text(text + page)
    options = ("--noEmit", "--strict", "--target", "es2022", "--module", "preserve")
    checked = compiler(*options, "--typeRoots", tmp_path, tmp_path / "page.ts")
    assert checked.returncode == 0, checked.stdout


class _Page(BaseModel):
    """Page */ of a `list`.

    It has two lines.
    """

    kebab: int = 1

    model_config = {"extra": "allow"}


def test_comment_and_other_fields_are_written() -> None:
    text = declaration_file({_Page: Declaration('a "name"', "job", None)}, "app")
    assert " * Page * / of a `list`.\n *\n * It has two lines.\n */" in text
    assert '    "a \\"name\\"": _Page;' in text
    assert "  kebab: number;\n  [other: string]: unknown;\n}" in text


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("tests.nope", "tests.nope cannot be imported: ModuleNotFoundError"),
        ("tests:nope", "The module tests has no nope"),
        ("json", "json declares no event: decorate a model"),
    ],
)
def test_module_without_events_is_an_error(target: str, error: str) -> None:
    assert error in complaint(run("types", target, folder=ROOT), status=1)
