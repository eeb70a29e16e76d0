"""Database connections of Django's sign-in and rules, which run outside a request of Django."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.processes import SECRET, environment
from tests.services.postgres import PostgresServer

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import asyncio, json, os, sys
import django, httpx, psycopg
from django.conf import settings
from django.core.management import call_command

url = psycopg.conninfo.conninfo_to_dict(os.environ["SHOP_DATABASE"])
settings.configure(
    DATABASES={"default": {
        "ENGINE": "django.db.backends.postgresql", "NAME": url["dbname"], "USER": url["user"],
        "HOST": url["host"], "PORT": url["port"], "CONN_MAX_AGE": json.loads(sys.argv[1]),
        "OPTIONS": {"application_name": "shop"}}},
    INSTALLED_APPS=[
        "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    SECRET_KEY="a secret of the tests",
)
django.setup()
call_command("migrate", verbosity=0)

from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, BACKEND_SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection
from realtime_bridge.integrations.django import session_user
from realtime_bridge.server import Bridge

user, _ = User.objects.get_or_create(username="ann")
session = SessionStore()
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.save()
connection.close()
bridge = Bridge.from_env(authenticate=session_user)


@bridge.channel("sync.{number}")
def may_watch(user, number):
    return User.objects.filter(pk=user).exists()


@bridge.channel("async.{number}")
async def may_listen(user, number):
    return await User.objects.filter(pk=user).aexists()


async def watch(client):
    # Several at a time: each thread of the rules has a connection of its own.
    channels = {f"{kind}.{number}": None for kind in ("sync", "async") for number in range(8)}
    connected = await client.post("connect", json={})
    answer = await client.post("poll", json={"positions": channels})
    body = answer.json().get("channels", {})
    return connected.status_code, sum("position" in one for one in body.values())


def cut(database):
    cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    return database.execute(f"{cut} WHERE application_name = 'shop'").fetchone()[0]


async def until_none_is_left(database):
    # A server process of PostgreSQL ends a moment after its connection was closed.
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'shop'"
    async with asyncio.timeout(30):
        while database.execute(count).fetchone()[0]:
            await asyncio.sleep(0.05)


async def main():
    transport = httpx.ASGITransport(bridge)
    cookies = {settings.SESSION_COOKIE_NAME: session.session_key}
    with psycopg.connect(os.environ["SHOP_DATABASE"], autocommit=True) as database:
        async with bridge, httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1/realtime/", cookies=cookies
        ) as client:
            before = await watch(client)
            if sys.argv[1] == "0":
                await until_none_is_left(database)
            connections = cut(database)
            tries = [await watch(client) for _ in range(12)]
    print(json.dumps([before, connections, tries]))


asyncio.run(main())
"""


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with PostgresServer() as server:
        yield server.database()


@pytest.mark.parametrize("age", [0, None], ids=["closed after each call", "kept"])
def test_sign_in_and_rules_work_after_the_database_cut_connections(
    database: str, age: int | None
) -> None:
    variables = {
        "REALTIME_BACKEND": "memory",
        "REALTIME_SECRET": SECRET,
        "SHOP_DATABASE": database,
    }
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(age)],
        cwd=ROOT,
        env=environment(variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    before, connections, tries = json.loads(process.stdout)
    assert before == [200, 16]
    if age == 0:
        assert connections == 0
        assert tries[0] == [200, 16]
    else:
        assert connections > 0
        # As in Django: each lost connection fails once, and is then replaced.
        assert tries[-1] == [200, 16]
