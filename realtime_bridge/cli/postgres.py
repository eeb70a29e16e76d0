"""`realtime-bridge postgres …`: the log's schema in PostgreSQL."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from realtime_bridge.cli.console import exit_on_error, stderr
from realtime_bridge.errors import BackendNotInstalledError
from realtime_bridge.settings import Settings

if TYPE_CHECKING:
    import psycopg
    from psycopg.abc import Query

app = typer.Typer(no_args_is_help=True, help="The log in PostgreSQL: REALTIME_POSTGRES_URL.")

Url = Annotated[
    str | None, typer.Option(help="The database; else REALTIME_POSTGRES_URL, or DATABASE_URL.")
]
Json = Annotated[bool, typer.Option("--json", help="Print it on standard output.")]


@app.command()
def install(
    url: Url = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the SQL of a first install, and do nothing.")
    ] = False,
) -> None:
    """Make the schema, or bring it up to date; doing it again changes nothing."""
    with exit_on_error():
        settings = Settings.load()
        with _database() as schema:
            if dry_run:
                typer.echo(schema.script(settings.prefix))
                return
            with connected(url) as connection:
                before = schema.install(connection, settings.prefix, settings.retention)
            done = "installed" if before is None else f"brought up to date, from version {before}"
            stderr.print(f"{done}: schema {settings.prefix}, version {schema.VERSION}")


@app.command()
def uninstall(
    url: Url = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove the schema, with all events that the log holds."""
    with exit_on_error(), _database() as schema, connected(url) as connection:
        prefix = Settings.load().prefix
        if not yes:
            typer.confirm(f"Remove schema {prefix} and all that it holds?", abort=True, err=True)
        there = schema.uninstall(connection, prefix)
        stderr.print(f"removed: schema {prefix}" if there else f"there was no schema {prefix}")


@app.command()
def status(url: Url = None, as_json: Json = False) -> None:
    """Say what is there; exit 1 when nothing is, or when it is out of date."""
    with exit_on_error(), _database() as schema, connected(url) as connection:
        prefix = Settings.load().prefix
        found = schema.status(connection, prefix)
        if as_json:
            typer.echo(orjson.dumps(asdict(found)).decode())
        elif found.version is None:
            stderr.print(f"no schema {prefix}: run `realtime-bridge postgres install`")
        else:
            stderr.print(
                f"schema {prefix}, version {found.version} of {schema.VERSION}: "
                f"{found.events:,} events on {found.channels:,} channels"
            )
        if found.version != schema.VERSION:
            raise typer.Exit(1)


@app.command()
def watch(
    table: Annotated[str, typer.Argument(help="As SQL has it: jobs, app.jobs, '\"Jobs\"'.")],
    channel: Annotated[str, typer.Option(help="Where to, like 'user-{user_id}'.")],
    event: Annotated[
        str, typer.Option(help="Its name; {op} is insert, update or delete.")
    ] = "row.{op}",
    columns: Annotated[
        str | None, typer.Option(help="What the data has, like id,status; else all.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="What it is about, like 'job-{id}': the latest is kept.")
    ] = None,
    url: Url = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the SQL, and do nothing.")
    ] = False,
) -> None:
    """Let each change of a table's rows be an event, whoever writes them."""
    with exit_on_error(), _database(), connected(url) as connection:
        from realtime_bridge.postgres import triggers, watching

        prefix = Settings.load().prefix
        found = watching.find_table(connection, table)
        named = [name.strip() for name in (columns or "").split(",") if name.strip()]
        made = watching.describe(found, channel=channel, event=event, columns=named, key=key)
        statements = triggers.install(made, prefix)
        if dry_run:
            typer.echo(";\n".join(part.as_string(connection) for part in statements) + ";")
            return
        _run_all(connection, statements)
        stderr.print(f"watching {table}: its changes go to {channel}")
        if not found.primary:
            stderr.print(f"{table} has no primary key: every updated row is an event")


@app.command()
def unwatch(table: Annotated[str, typer.Argument(help="As SQL has it.")], url: Url = None) -> None:
    """Let the changes of a table be no events any more."""
    with exit_on_error(), _database(), connected(url) as connection:
        from realtime_bridge.postgres import triggers, watching

        found = watching.find_table(connection, table)
        _run_all(connection, triggers.remove(found, Settings.load().prefix))
        stderr.print(f"no longer watching {table}")


@app.command()
def watches(url: Url = None, as_json: Json = False) -> None:
    """List the tables that are watched."""
    with exit_on_error(), _database(), connected(url) as connection:
        from realtime_bridge.postgres import watching

        found = watching.listed(connection, Settings.load().prefix)
        if as_json:
            typer.echo(orjson.dumps(found).decode())
            return
        for one in found:
            key = f", key {one['key']}" if one["key"] else ""
            stderr.print(f"{one['table']}: {one['event']} on {one['channel']}{key}")
        if not found:
            stderr.print("nothing is watched: see `realtime-bridge postgres watch --help`")


def _run_all(connection: "psycopg.Connection", statements: Sequence["Query"]) -> None:
    with connection.transaction():
        for statement in statements:
            connection.execute(statement)


@contextmanager
def _database() -> Generator[ModuleType]:
    try:
        from realtime_bridge.postgres import schema
    except ModuleNotFoundError as error:
        missing = error.name or "psycopg"
        raise BackendNotInstalledError("postgres", missing=missing, extra="postgres") from error
    yield schema


@contextmanager
def connected(url: str | None) -> Generator["psycopg.Connection"]:
    """Connect to the database, and say clearly what it refuses."""
    import psycopg

    from realtime_bridge.postgres.errors import refused
    from realtime_bridge.postgres.settings import PostgresSettings

    address = url or PostgresSettings.required()
    try:
        with psycopg.connect(address, autocommit=True, connect_timeout=5) as connection:
            yield connection
    except psycopg.Error as error:
        raise refused(error, address) from error
