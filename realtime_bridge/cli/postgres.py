"""`realtime-bridge postgres …`: schema of the log, and watched tables."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import orjson
import typer
from msgspec.structs import asdict

from realtime_bridge.cli.console import exit_on_error, stderr
from realtime_bridge.cli.settings import load_settings
from realtime_bridge.errors import BackendNotInstalledError

if TYPE_CHECKING:
    import psycopg
    from psycopg.abc import Query

app: typer.Typer = typer.Typer(
    no_args_is_help=True, help="Manage the log in PostgreSQL (REALTIME_POSTGRES_URL)."
)

Url = Annotated[
    str | None, typer.Option(help="Database; default: REALTIME_POSTGRES_URL or DATABASE_URL.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


@app.command()
def install(
    url: Url = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the SQL of a first install, without running it."),
    ] = False,
) -> None:
    """Create or upgrade the schema; a second run changes nothing."""
    with exit_on_error():
        settings = load_settings()
        with _database() as schema:
            if dry_run:
                typer.echo(schema.install_script(settings.prefix))
                return
            with connect(url) as connection:
                before = schema.install(connection, settings.prefix, settings.retention)
            action = "installed" if before is None else f"upgraded from version {before}"
            stderr.print(f"{action}: schema {settings.prefix}, version {schema.VERSION}")


@app.command()
def uninstall(
    url: Url = None,
    yes: Annotated[bool, typer.Option("--yes", help="Skip the confirmation.")] = False,
) -> None:
    """Remove the schema and all events of the log."""
    with exit_on_error(), _database() as schema, connect(url) as connection:
        prefix = load_settings().prefix
        if not yes:
            typer.confirm(f"Remove schema {prefix} and all its events?", abort=True, err=True)
        existed = schema.uninstall(connection, prefix)
        stderr.print(f"removed: schema {prefix}" if existed else f"not found: schema {prefix}")


@app.command()
def status(url: Url = None, as_json: Json = False) -> None:
    """Report the schema's version and size; exit 1 if it is missing or not current."""
    with exit_on_error(), _database() as schema, connect(url) as connection:
        prefix = load_settings().prefix
        current = schema.status(connection, prefix)
        if as_json:
            typer.echo(orjson.dumps(asdict(current)).decode())
        elif current.version is None:
            stderr.print(f"not found: schema {prefix}. Run `realtime-bridge postgres install`")
        else:
            stderr.print(
                f"schema {prefix}, version {current.version} of {schema.VERSION}: "
                f"{current.events:,} events on {current.channels:,} channels"
            )
        if current.version != schema.VERSION:
            raise typer.Exit(1)


@app.command()
def watch(
    table: Annotated[
        str, typer.Argument(help="Table in SQL's spelling: jobs, app.jobs, '\"Jobs\"'.")
    ],
    channel: Annotated[str, typer.Option(help="Channel of the events, like 'user-{user_id}'.")],
    event: Annotated[
        str, typer.Option(help="Name of the events; {op} is insert, update or delete.")
    ] = "row.{op}",
    columns: Annotated[
        str | None, typer.Option(help="Columns in the data, like id,status; default: all.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="Key of the events, like 'job-{id}': the log keeps the latest per key."),
    ] = None,
    url: Url = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the SQL, without running it.")
    ] = False,
) -> None:
    """Publish every change of a table's rows as an event, from any program."""
    with exit_on_error(), _database(), connect(url) as connection:
        from realtime_bridge.postgres import triggers, watches

        prefix = load_settings().prefix
        target = watches.find_table(connection, table)
        names = [name.strip() for name in (columns or "").split(",") if name.strip()]
        rule = watches.create_watch(target, channel=channel, event=event, columns=names, key=key)
        statements = triggers.create_triggers(rule, prefix)
        if dry_run:
            typer.echo(";\n".join(part.as_string(connection) for part in statements) + ";")
            return
        _run_all(connection, statements)
        stderr.print(f"watching {table}: changes go to {channel}")
        if not target.primary:
            stderr.print(f"{table} has no primary key: every updated row makes an event")


@app.command()
def unwatch(
    table: Annotated[str, typer.Argument(help="Table in SQL's spelling.")], url: Url = None
) -> None:
    """Stop publishing a table's changes."""
    with exit_on_error(), _database(), connect(url) as connection:
        from realtime_bridge.postgres import triggers, watches

        prefix = load_settings().prefix
        target = watches.find_watched_table(connection, table, prefix)
        if target:
            _run_all(connection, triggers.drop_triggers(target, prefix))
        stderr.print(f"no longer watching {table}")


@app.command(name="watches")
def list_watches(url: Url = None, as_json: Json = False) -> None:
    """List the watched tables."""
    with exit_on_error(), _database(), connect(url) as connection:
        from realtime_bridge.postgres import watches

        rules = watches.list_watches(connection, load_settings().prefix)
        if as_json:
            typer.echo(orjson.dumps(rules).decode())
            return
        for rule in rules:
            key = f", key {rule['key']}" if rule["key"] else ""
            stderr.print(f"{rule['table']}: {rule['event']} on {rule['channel']}{key}")
            if rule["problem"]:
                stderr.print(f"  → {rule['problem']}")
        if not rules:
            stderr.print("no table is watched: see `realtime-bridge postgres watch --help`")


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
def connect(url: str | None) -> Generator["psycopg.Connection"]:
    """Connect to the database; raise `DatabaseError` for what it rejects."""
    import psycopg

    from realtime_bridge.postgres.address import parse_address
    from realtime_bridge.postgres.connection import network_options
    from realtime_bridge.postgres.errors import to_database_error
    from realtime_bridge.postgres.settings import PostgresSettings

    address = parse_address(url or PostgresSettings.required_url(), source="--url" if url else None)
    try:
        options = network_options(address)
        with psycopg.connect(address, autocommit=True, **options) as connection:
            yield connection
    except psycopg.Error as error:
        raise to_database_error(error, address) from error
