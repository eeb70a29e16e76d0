"""Base of settings classes: variables of the environment and of a `.env` file, checked by pydantic.

This module loads pydantic: import it where the configuration is read, not in each worker.
"""

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    SettingsConfigDict,
)

from realtime_bridge.errors import ConfigurationError

_SENTENCES = {
    "missing": "it is not set",
    "bool_parsing": "write on or off",
    "int_parsing": "write a whole number",
    "float_parsing": "write a number",
    "greater_than": "use a number above {gt:g}",
    "greater_than_equal": "use at least {ge:g}",
    "less_than_equal": "use at most {le:.15g}",
    "literal_error": "use {expected}",
    "string_type": "write a text",
    "string_too_short": "it is empty",
    "value_error": "{error}",
}
"""Sentences for pydantic's error types; pydantic's own name regular expressions and inputs."""


def text_of(pattern: str, form: str) -> AfterValidator:
    """Return a validator of texts that match a pattern; its error is the description `form`."""

    def check(value: str) -> str:
        # Compiled here: a cold start pays for the variables that are set, not for all.
        if not re.fullmatch(pattern, value):
            raise ValueError(form)
        return value

    return AfterValidator(check)


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


MAX_COUNT = 2**31 - 1
MAX_BYTES = 2**40
"""Beyond these limits the logs' databases, C and JSON have no such numbers."""

Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
ByteCount = Annotated[int, Field(ge=1, le=MAX_BYTES)]
Port = Annotated[int, Field(ge=1, le=65_535)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


class EnvironmentSettings(BaseSettings):
    """Base of the settings: `load()` reads the environment, the constructor takes plain values.

    Nested in an application's own settings, `Field(default_factory=Settings.load)` reads the
    `REALTIME_*` variables; with `env_nested_delimiter` the application's names apply.

    Raises:
        ConfigurationError: a value cannot work; the message names the variable, never the value.

    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_file=".env",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        loc_by_alias=False,
        validate_by_alias=True,
        validate_by_name=True,
    )

    if not TYPE_CHECKING:  # type checkers derive the arguments from the fields

        def __init__(self, _given: Mapping[str, str] | None = None, **values: Any) -> None:
            problems: list[str] = []
            try:
                # The constructor of BaseSettings would read the environment here.
                super(BaseSettings, self).__init__(**values)
            except ValidationError as error:
                found = error.errors(include_url=False, include_input=False)
                problems = [self._describe(problem, _given or {}) for problem in found]
            # Raised outside the handler: a context would keep pydantic's error, with the values.
            if problems:
                raise ConfigurationError(f"Bad configuration: {'; '.join(problems)}")

    @classmethod
    def load(cls) -> Self:
        """Read the environment, and a `.env` file in the working directory.

        A variable of the environment wins over one of the file; an empty one counts as unset.

        Raises:
            ConfigurationError: a variable is missing, or its value cannot work.

        """
        # Both apply aliases and drop empty variables; the later one wins.
        sources = (DotEnvSettingsSource(cls), EnvSettingsSource(cls))
        values: dict[str, Any] = {}
        given: dict[str, str] = {}
        for source in sources:
            values |= source()
            for name in cls.model_fields:
                for variable in reversed(cls.variables(name)):
                    if variable.lower() in source.env_vars:
                        given[name] = variable
        # A .env file belongs to the whole application: it sets more than our fields.
        known = {key for name in cls.model_fields for key in (name, *cls.variables(name))}
        values = {key: value for key, value in values.items() if key in known}
        return cls(_given=given, **values)  # type: ignore[call-arg]

    @classmethod
    def variables(cls, name: str) -> list[str]:
        """Return the variables that set a field; the first one wins."""
        field = cls.model_fields.get(name)
        if field and isinstance(field.validation_alias, AliasChoices):
            return [str(choice) for choice in field.validation_alias.choices]
        return [f"{cls.model_config['env_prefix']}{name.upper()}"]

    @classmethod
    def variable(cls, name: str) -> str:
        """Return the variable that sets a field in this environment, for messages.

        It is the first name if no variable is set: code may have passed the value.
        """
        names = cls.variables(name)
        file = DotEnvSettingsSource(cls).env_vars if len(names) > 1 else {}
        for variable in names:
            if os.environ.get(variable) or file.get(variable.lower()):
                return variable
        return names[0]

    @classmethod
    def is_set(cls) -> bool:
        """Return whether the environment, or the `.env` file, sets any of the fields."""
        file = DotEnvSettingsSource(cls).env_vars
        names = [variable for name in cls.model_fields for variable in cls.variables(name)]
        return any(os.environ.get(name) or file.get(name.lower()) for name in names)

    @classmethod
    def name_variables(cls, text: str) -> str:
        """Return a text with the variables of this environment in place of their first names."""
        for name in cls.model_fields:
            first = cls.variables(name)[0]
            if first in text:
                text = text.replace(first, cls.variable(name))
        return text

    @classmethod
    def _describe(cls, problem: Any, given: Mapping[str, str]) -> str:
        name = str(problem["loc"][0])
        if problem["type"] == "extra_forbidden":
            from difflib import get_close_matches

            nearest = "".join(get_close_matches(name, cls.model_fields, n=1))
            hint = f", did you mean {nearest!r}?" if nearest else ""
            return f"{cls.__name__} has no setting {name!r}{hint}"
        variable = given.get(name) or cls.variables(name)[0]
        sentence = _SENTENCES.get(problem["type"], "use another value")
        sentence = sentence.format_map(problem.get("ctx", {}))
        return f"{variable}: {sentence}, for example {variable}={cls._example(name)}"

    @classmethod
    def _example(cls, name: str) -> str:
        # A default is a working value, and the form in which a variable has to write it.
        field = cls.model_fields[name]
        value = field.examples[0] if field.examples else field.default
        if isinstance(value, bool):
            return "on" if value else "off"
        return f"{value:g}" if isinstance(value, float) else f"{value}"
