"""Program whose threads are greenlets: publishers, jobs and a timer run side by side.

Arguments: the library of greenlets, and the address of a Redis.
"""

import sys
import types
import warnings

LIBRARY, URL = sys.argv[1:]
if LIBRARY == "gevent":
    from gevent import monkey

    monkey.patch_all()
else:
    warnings.simplefilter("ignore")  # it warns that it is deprecated
    # Its resolver imports what other development packages bring for DNS over HTTPS, which has
    # objects that it cannot patch.
    sys.modules["truststore"] = types.ModuleType("truststore")
    import eventlet

    eventlet.monkey_patch()

import asyncio  # noqa: E402 -- the library has to be first
import threading  # noqa: E402
import time  # noqa: E402

from realtime_bridge import BlockingBroadcaster, Broadcaster  # noqa: E402
from realtime_bridge_backends.redis import RedisBackend  # noqa: E402

broadcasters = [BlockingBroadcaster(lambda: Broadcaster(log=RedisBackend(URL))) for _ in range(2)]
turns: list[float] = []
is_done = threading.Event()


def count_turns() -> None:
    while not is_done.is_set():
        turns.append(time.monotonic())
        time.sleep(0.001)


def work(number: int) -> None:
    for step in range(5):
        broadcasters[number % 2].publish(f"user-{number}", "job.step", step)
    with broadcasters[0].job("user-job", id=f"job-{number}") as job:
        for _ in job.track(range(3)):
            pass


def run(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


counter = threading.Thread(target=count_turns)
counter.start()
run([threading.Thread(target=work, args=(number,)) for number in range(20)])
is_done.set()
counter.join()
asyncio.run(asyncio.sleep(0))  # no other loop occupies this thread
for broadcaster in broadcasters:
    broadcaster.close()
print("turns of others:", len(turns) > 1)
