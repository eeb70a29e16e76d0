"""Addresses of Redis: accepted forms and options, and errors without a value of the address."""

import pytest
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.sentinel import SentinelConnectionPool

from realtime_bridge import ConfigurationError
from realtime_bridge_backends.redis.address import OPTIONS, parse_address
from realtime_bridge_backends.redis.client_factory import create_client
from realtime_bridge_backends.redis.timing import RedisTiming


@pytest.mark.parametrize(
    ("url", "hosts", "options"),
    [
        ("redis://", [("", 6379)], {}),
        ("redis://db:1/2", [("db", 1)], {"db": 2}),
        ("redis://ada:p%2F%23@db", [("db", 6379)], {"username": "ada", "password": "p/#"}),
        ("redis://[::1]:1?db=3&socket_timeout=1.5", [("::1", 1)], {"db": 3, "socket_timeout": 1.5}),
        (
            "rediss://db?ssl_cert_reqs=CERT_NONE",
            [("db", 6379)],
            {"ssl": True, "ssl_cert_reqs": "none", "ssl_check_hostname": False},
        ),
        (
            "rediss+cluster://:p@a:1,b?ssl_ca_certs=/ca.pem",
            [("a", 1), ("b", 6379)],
            {"ssl": True, "ssl_ca_certs": "/ca.pem", "password": "p"},
        ),
        ("unix:///run/redis.sock?db=1", [], {"db": 1}),
    ],
)
def test_address_is_parsed(
    url: str, hosts: list[tuple[str, int]], options: dict[str, object]
) -> None:
    address = parse_address(url)
    assert (address.hosts, address.options) == (hosts, options)


def test_sentinels_have_a_password_and_tls_of_their_own() -> None:
    address = parse_address(
        "rediss+sentinel://ada:p@a,b:1/log/2?ssl_ca_certs=/ca.pem&sentinel_password=q"
    )
    assert address.hosts == [("a", 26379), ("b", 1)]
    assert (address.service, address.options["db"]) == ("log", 2)
    assert address.options["password"] == "p"
    assert address.sentinel_options == {"ssl": True, "ssl_ca_certs": "/ca.pem", "password": "q"}


MALFORMED = "write special characters of the password as codes"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("hunter2", "is not an address of Redis"),
        ("http://db/hunter2", "is not an address of Redis"),
        ("unix+cluster:///hunter2", "is not an address of Redis"),
        ("redis://:hunter2#x@db:6379/0", MALFORMED),
        ("redis://:1234#hunter2@db:6379/0", MALFORMED),
        ("redis://:1/hunter2@db:6379/0", MALFORMED),
        ("redis://:1?hunter2@db:6379/0", MALFORMED),
        ("redis://:[hunter2@db:6379/0", MALFORMED),
        ("redis://:hunter2", MALFORMED),
        ("redis://db:99999?password=hunter2", "write one from 1 to 65535"),
        ("redis://db/hunter2", "value for the database that cannot work: write a whole number"),
        ("redis://db/0?hunter2=x", "the option '…', which"),
        ("redis://db/0?protocol=3", "the option 'protocol', which is not supported"),
        ("redis://db/0?decode_responses=True", "the option 'decode_responses'"),
        ("redis://db/0?virtual_host=0", "the option 'virtual_host'"),
        ("redis://db/0?socket_timeout=hunter2", "write a number of seconds"),
        ("redis://db/0?socket_keepalive=hunter2", "write true or false"),
        ("rediss://db/0?ssl_cert_reqs=hunter2", "write none, optional or required"),
        ("redis://db/0?ssl_ca_certs=/hunter2", "write rediss://"),
        ("redis://db/0?sentinel_password=hunter2", "write redis\\+sentinel://"),
        ("redis://a,b/0?password=hunter2", "names several hosts"),
        ("redis+cluster://a/3?password=hunter2", "a Cluster has only 0"),
        ("redis+cluster://?password=hunter2", "names no host"),
        ("redis+sentinel://a?password=hunter2", "names no service"),
    ],
)
def test_other_address_is_refused_without_a_value(
    monkeypatch: pytest.MonkeyPatch, url: str, message: str
) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    monkeypatch.delenv("REALTIME_REDIS_URL", raising=False)
    with pytest.raises(ConfigurationError, match=message) as caught:
        create_client(url, RedisTiming())
    assert str(caught.value).startswith("REDIS_URL "), "the variable that is set"
    assert caught.value.__context__ is None, "the parser's own error has a value"
    assert "hunter2" not in str(caught.value)


async def test_every_option_is_taken_by_each_kind_of_client() -> None:
    values = dict.fromkeys(OPTIONS, "1") | {"ssl_cert_reqs": "none", "db": "0"}
    query = "&".join(f"{name}={value}" for name, value in values.items() if "sentinel" not in name)
    for url in (f"rediss://db/?{query}", f"rediss+cluster://a,b?{query}"):
        client = create_client(url, RedisTiming())
        kwargs = (
            client.connection_kwargs
            if isinstance(client, RedisCluster)
            else client.connection_pool.connection_kwargs
        )
        assert kwargs["client_name"] == "1"
        assert str(kwargs["ssl_ca_certs"]) == "1"
        await client.aclose()
    query += "&sentinel_username=1&sentinel_password=1"
    client = create_client(f"rediss+sentinel://a/log?{query}", RedisTiming())
    assert isinstance(client, Redis)
    assert isinstance(client.connection_pool, SentinelConnectionPool)
    (sentinel,) = client.connection_pool.sentinel_manager.sentinels
    assert sentinel.connection_pool.connection_kwargs["password"] == "1"
    assert sentinel.connection_pool.connection_kwargs["ssl_ca_certs"] == "1"
