"""JSON Schema of the data of declared events, as it is published."""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct
from pydantic.json_schema import GenerateJsonSchema, models_json_schema


class EventSchemas(Struct, frozen=True):
    """JSON Schemas of some models, and of those that they use.

    Args:
        names: name of the definition of each model.
        definitions: schemas by their names.

    """

    names: dict[Any, str]
    definitions: dict[str, Any]

    @classmethod
    def of(cls, models: Iterable[Any], template: str) -> "EventSchemas":
        """Return the schemas of pydantic models; `template` is that of a reference."""
        references, schema = models_json_schema(
            [(model, "serialization") for model in models],
            ref_template=template,
            schema_generator=_PublishedSchema,
        )
        names = {
            model: schema["$ref"].rpartition("/")[2] for (model, _), schema in references.items()
        }
        return cls(names, schema.get("$defs", {}))


class _PublishedSchema(GenerateJsonSchema):
    def field_is_required(self, field: Any, total: bool) -> bool:
        # Fields with a default are always published, which pydantic's own schema does not promise.
        if field["type"] == "model-field":
            hidden = ("serialization_exclude", "serialization_exclude_if")
            return not any(map(field.get, hidden))
        return super().field_is_required(field, total)
