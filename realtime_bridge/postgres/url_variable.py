"""Name of the variable that has the database's address, for messages."""


def url_variable() -> str:
    """Return the variable that has the database's address; the first one if none is set."""
    # It loads pydantic, which a worker needs only where the configuration is read.
    from realtime_bridge.postgres.settings import PostgresSettings

    return PostgresSettings.variable("url")
