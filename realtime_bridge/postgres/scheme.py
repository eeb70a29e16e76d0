"""Schemes of a database's address, and the variable that has it; imported without psycopg."""

SCHEMES = ("postgresql", "postgres", "postgis", "pgsql", "timescaledb", "timescale")
"""Schemes for libpq, SQLAlchemy (`postgresql+asyncpg`) and Django (`postgis`)."""


def has_other_scheme(address: str) -> bool:
    """Return whether an address is a URL of another kind of database."""
    scheme, separator, _ = address.partition("://")
    return bool(separator) and scheme.partition("+")[0].lower() not in SCHEMES


def url_variable() -> str:
    """Return the variable that has the database's address, for messages."""
    # It loads pydantic, which a worker needs only where the configuration is read.
    from realtime_bridge.postgres.settings import PostgresSettings

    return PostgresSettings.variable("url")
