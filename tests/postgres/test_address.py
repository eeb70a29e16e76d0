"""Addresses of databases: accepted forms, names for messages, and errors without a password."""

import pytest

from realtime_bridge import ConfigurationError
from realtime_bridge.postgres.address import parse_address, server_name
from realtime_bridge.postgres.connection import network_options

MARKER = "hunter2"


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("postgresql://app@db:5432/shop", "db:5432/shop"),
        ("postgres://app@db/shop", "db/shop"),
        ("postgresql://h1:5432,h2:5433/db?target_session_attrs=any", "h1:5432,h2:5433/db"),
        ("host=h1,h2 port=5432 dbname=db", "h1:5432,h2:5432/db"),
        ("postgresql+asyncpg://app:hunter2@db/shop", "db/shop"),
        ("postgresql+psycopg2://app:hunter2@db/shop", "db/shop"),
        ("postgis://app:hunter2@db:1/shop", "db:1/shop"),
        ("postgresql://app:hunter2#?[]@db/shop", "db/shop"),
        ("postgresql://app:%2Fhunter2%40@db/shop", "db/shop"),
        ("host=db user=app password='hunter2 /#' dbname=shop", "db/shop"),
        ("postgresql://db/shop?password=hunter2&sslpassword=hunter2", "db/shop"),
        ("postgresql://app:hunter2@[::1]:5432/shop", "[::1]:5432/shop"),
        ("postgresql:///shop?host=/run/postgresql", "/run/postgresql/shop"),
        ("postgresql://", "its default address"),
    ],
)
def test_name_shows_hosts_ports_and_database(address: str, name: str) -> None:
    assert server_name(parse_address(address)) == f"PostgreSQL at {name}"
    assert server_name(address) == f"PostgreSQL at {name}"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("postgresql://app:hun/hunter2@db/shop", "%2F for /"),
        ("postgresql://app:a@hunter2@db/shop", "%40 for @"),
        ("postgresql://app:hunter2%@db/shop", "is malformed"),
        ("postgresql://app:1234/hunter2@db/shop", "is malformed"),
        ("postgresql://app:hunter2", "is malformed"),
        ("hunter2", "is malformed"),
        ("host=db password='hunter2", "is malformed"),
        ("host=db hunter2", "is malformed"),
        ("postgresql://app:hunter2@db/shop?hunter2=1", "no unknown option"),
        ("postgresql://app:hunter2@db/shop?ssl=require", "the option 'ssl' of another driver"),
        ("mysql://app:hunter2@db/shop", "is not an address of PostgreSQL"),
        ("mysql+pymysql://app:hunter2@db/shop", "is not an address of PostgreSQL"),
        ("sqlite:///hunter2.sqlite", "is not an address of PostgreSQL"),
    ],
)
def test_other_address_is_refused_without_its_text(address: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        parse_address(address, source="DATABASE_URL")
    assert str(caught.value).startswith("DATABASE_URL ")
    assert MARKER not in str(caught.value)
    assert caught.value.__context__ is None, "the parser's own error has the text"
    assert server_name(address) == "PostgreSQL"


def test_options_of_the_address_have_priority() -> None:
    address = "postgresql://db/shop?connect_timeout=30&options=-c%20search_path%3Dshop"
    options = network_options(address, options="-c statement_timeout=0")
    assert "connect_timeout" not in options
    assert options["options"] == "-c statement_timeout=0 -c search_path=shop"
    assert "options" not in network_options(address)


def test_encoding_is_always_unicode() -> None:
    assert network_options("postgresql://db/x?client_encoding=latin1")["client_encoding"] == "utf8"
