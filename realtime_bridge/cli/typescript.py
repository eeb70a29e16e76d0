"""TypeScript declarations of declared events."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from realtime_bridge.cli.event_schemas import EventSchemas
from realtime_bridge.model.declaration import Declaration

Schema = Mapping[str, Any]

_NAMES = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
}
_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_OTHERS = {"Array", "RealtimeEvents", *_NAMES.values(), "any", "never", "object", "unknown"}
"""Names with another meaning where they are used in this file."""

_DEFINITION = "#/$defs/"


def declaration_file(declarations: Mapping[Any, Declaration], source: str) -> str:
    """Return a `.d.ts` file that adds the events to `RealtimeEvents` of `realtime-bridge`.

    Args:
        declarations: the declarations, by their pydantic models.
        source: what the events were imported from, for the first line.

    """
    schemas = EventSchemas.of(declarations, _DEFINITION + "{model}")
    lines = [
        f"/** Declared events; written by `realtime-bridge types {source}`. */",
        "import 'realtime-bridge';",
        "",
        "declare module 'realtime-bridge' {",
        "  interface RealtimeEvents {",
    ]
    for model, declaration in declarations.items():
        name = json.dumps(declaration.event, ensure_ascii=False)
        lines += [
            *_comment(f"On `{declaration.on}`.", "    "),
            f"    {name}: {_identifier(schemas.names[model])};",
        ]
    lines += ["  }", "}"]
    for name, definition in schemas.definitions.items():
        lines += ["", *_definition(_identifier(name), definition)]
    return "\n".join(lines) + "\n"


def _definition(name: str, schema: Schema) -> Iterator[str]:
    yield from _comment(schema.get("description"), "")
    if schema.get("properties"):
        yield f"export interface {name} {_object(schema, '')}"
    else:
        yield f"export type {name} = {_type(schema, '')};"


def _type(schema: Schema | bool, indent: str) -> str:
    """Return the TypeScript type of a JSON Schema, as pydantic writes them."""
    if isinstance(schema, bool):
        return "unknown" if schema else "never"
    if "$ref" in schema:
        return _identifier(schema["$ref"].removeprefix(_DEFINITION))
    if "const" in schema:
        return _literal(schema["const"])
    if "enum" in schema:
        return " | ".join(map(_literal, schema["enum"]))
    for word, operator in (("anyOf", " | "), ("oneOf", " | "), ("allOf", " & ")):
        if word in schema:
            parts = dict.fromkeys(_type(part, indent) for part in schema[word])
            return operator.join(parts)
    return _type_of_kind(schema, indent)


def _type_of_kind(schema: Schema, indent: str) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        return " | ".join(_type({**schema, "type": each}, indent) for each in kind)
    if kind == "array":
        return _array(schema, indent)
    if kind == "object":
        return _object(schema, indent)
    return _NAMES.get(str(kind), "unknown")


def _array(schema: Schema, indent: str) -> str:
    first = [_type(item, indent) for item in schema.get("prefixItems", ())]
    rest = schema.get("items", True)
    has_end = schema.get("maxItems") == len(first) or rest is False
    if has_end:
        return f"[{', '.join(first)}]"
    item = f"Array<{_type(rest, indent)}>"
    return f"[{', '.join(first)}, ...{item}]" if first else item


def _object(schema: Schema, indent: str) -> str:
    properties = schema.get("properties")
    if not properties:
        names = schema.get("propertyNames", {})
        is_named = "enum" in names or "$ref" in names
        key = f"[name in {_type(names, indent)}]?" if is_named else "[name: string]"
        # Not `Record<…>`: a type that has itself in one is an error of TypeScript.
        return f"{{ {key}: {_type(schema.get('additionalProperties', True), indent)} }}"
    inner, required = f"{indent}  ", schema.get("required", ())
    lines = ["{"]
    for name, field in properties.items():
        shown = name if _IDENTIFIER.fullmatch(name) else json.dumps(name, ensure_ascii=False)
        mark = "" if name in required else "?"
        description = field.get("description") if isinstance(field, dict) else None
        lines += _comment(description, inner)
        lines.append(f"{inner}{shown}{mark}: {_type(field, inner)};")
    # With other fields beside them, the types of these would have to fit into the others' type.
    if schema.get("additionalProperties"):
        lines.append(f"{inner}[other: string]: unknown;")
    return "\n".join([*lines, f"{indent}}}"])


def _literal(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _identifier(name: str) -> str:
    """Return the name of a definition as TypeScript's; a generic model has brackets."""
    name = re.sub(r"[^A-Za-z0-9_$]", "_", name)
    return f"_{name}" if name in _OTHERS or not _IDENTIFIER.fullmatch(name) else name


def _comment(text: str | None, indent: str) -> Iterator[str]:
    if not text:
        return
    lines = text.replace("*/", "* /").splitlines()
    if len(lines) == 1:
        yield f"{indent}/** {lines[0]} */"
        return
    yield f"{indent}/**"
    for line in lines:
        yield f"{indent} * {line}".rstrip()
    yield f"{indent} */"
