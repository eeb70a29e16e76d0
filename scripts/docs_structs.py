"""Extension of the API reference: constructors of `msgspec.Struct`, which its fields define."""

from typing import Any

from griffe import Class, Extension, Function, Parameter, ParameterKind, Parameters


class Structs(Extension):
    """Gives each subclass of `Struct` the `__init__` that it has at run time."""

    def on_class(self, *, cls: Class, **_: Any) -> None:
        """Add the constructor of a struct."""
        if "Struct" not in map(str, cls.bases) or "__init__" in cls.members:
            return
        is_keyword_only = str(cls.keywords.get("kw_only")) == "True"
        kind = (
            ParameterKind.keyword_only if is_keyword_only else ParameterKind.positional_or_keyword
        )
        fields = [
            Parameter(name, annotation=field.annotation, kind=kind, default=field.value)
            for name, field in cls.attributes.items()
            if field.annotation is not None and "ClassVar" not in str(field.annotation)
        ]
        me = Parameter("self", kind=ParameterKind.positional_or_keyword)
        cls.set_member("__init__", Function("__init__", parameters=Parameters(me, *fields)))
