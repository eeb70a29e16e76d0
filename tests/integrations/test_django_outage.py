"""Commits of Django while the log is down: requests go on, and all hooks run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.processes import environment
from tests.services.programs import free_port

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import json, os, time
import django
from django.conf import settings
from django.db import transaction

settings.configure(DATABASES={"default": {
    "ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
django.setup()

from realtime_bridge import BlockingBroadcaster
from realtime_bridge.integrations.django import publish_on_commit

# With a check: the first publish needs no import then.
broadcaster, hooks, seconds = BlockingBroadcaster.from_env(check=True), [], []
for number in range(21):
    started = time.monotonic()
    with transaction.atomic():
        publish_on_commit(broadcaster, "user-42", "order.paid", number)
        transaction.on_commit(lambda: hooks.append(number))
    seconds.append(time.monotonic() - started)
publish_on_commit(broadcaster, "user-42", "order.paid")

# A publisher that cannot work at all fails in the hook itself.
os.environ["REALTIME_BACKEND"] = "nowhere"
broken = BlockingBroadcaster.from_env()
with transaction.atomic():
    publish_on_commit(broken, "user-42", "order.paid")
    transaction.on_commit(lambda: hooks.append("after a failed hook"))
publish_on_commit(broken, "user-42", "order.paid")
print(json.dumps([len(hooks), seconds[0], sum(seconds[1:])]))
"""


@pytest.mark.timed
def test_commit_without_a_log_runs_all_hooks_in_time() -> None:
    variables = {
        "REALTIME_BACKEND": "redis",
        "REALTIME_REDIS_URL": f"redis://127.0.0.1:{free_port()}",
    }
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env=environment(variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    hooks, first, others = json.loads(process.stdout)
    assert hooks == 22
    assert first < 3
    assert others < 1
