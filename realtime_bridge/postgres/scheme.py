"""Schemes of a database's address; imported without psycopg."""

SCHEMES = ("postgresql", "postgres", "postgis", "pgsql", "timescaledb", "timescale")
"""Schemes for libpq, SQLAlchemy (`postgresql+asyncpg`) and Django (`postgis`)."""


def has_other_scheme(address: str) -> bool:
    """Return whether an address is a URL of another kind of database."""
    scheme, separator, _ = address.partition("://")
    return bool(separator) and scheme.partition("+")[0].lower() not in SCHEMES
