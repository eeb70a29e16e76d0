"""Commands `types` and `asyncapi`: the declared events of an application, for other programs."""

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated

import orjson
import typer

from realtime_bridge.cli.console import exit_on_error
from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model.declaration import Declaration, declarations

Target = Annotated[
    str,
    typer.Argument(
        metavar="MODULE[:NAME]", help="Module whose import declares the events, like app:events."
    ),
]


def types(target: Target) -> None:
    """Print a TypeScript declaration file of the events, for `useChannel` and `subscribe`."""
    from realtime_bridge.cli.typescript import declaration_file

    with exit_on_error():
        typer.echo(declaration_file(load_declarations(target), target), nl=False)


def asyncapi(target: Target) -> None:
    """Print an AsyncAPI 3 document of the events, as JSON."""
    from realtime_bridge.cli.asyncapi_document import asyncapi_document

    with exit_on_error():
        document = asyncapi_document(load_declarations(target))
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def load_declarations(target: str) -> dict[type, Declaration]:
    """Import a module of the application, and return the declarations of this process by name.

    Args:
        target: `module`, or `module:name`, whose name may be a module of its own.

    Raises:
        ConfigurationError: the module cannot be imported, lacks the name, or declares no event.

    """
    sys.path.insert(0, "")  # the application is in the working directory, as for uvicorn
    name, _, attribute = target.partition(":")
    try:
        module = import_module(name)
        is_package = attribute and not hasattr(module, attribute) and hasattr(module, "__path__")
        if is_package and find_spec(f"{name}.{attribute}"):
            import_module(f"{name}.{attribute}")
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"{target} cannot be imported: {type(error).__name__}: {error}. Run the command in the "
            "folder from which `import` finds the module"
        ) from error
    if attribute and not hasattr(module, attribute):
        raise ConfigurationError(f"The module {name} has no {attribute}: correct {target!r}")
    if not declarations:
        raise ConfigurationError(
            f"{target} declares no event: decorate a model with realtime_bridge.events.define"
        )
    return dict(sorted(declarations.items(), key=lambda item: item[1].event))
