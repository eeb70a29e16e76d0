"""Members on three nodes, each user with three pages at the nodes in turn; one node is killed."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

from realtime_bridge.client import PresenceReader, open_presence
from realtime_bridge.server.auth.tokens import Tokens
from tests.cli.processes import SECRET
from tests.nodes.balancer import Balancer
from tests.nodes.cluster import Cluster
from tests.nodes.load import FULL
from tests.nodes.test_redis_load import variables
from tests.services.redis import RedisServer

CHANNEL = "document.7"
USERS, TABS = (200, 3) if FULL else (6, 3)
OPENED_AT_ONCE = 30
SECONDS = 45.0
"""The longest time until every list is true after the node was killed."""

JOIN_SECONDS = 120.0


class Page:
    """Page of one user, which counts the changes that it shows."""

    def __init__(self, url: str, user: str) -> None:
        token = Tokens(SECRET, issuer="realtime").issue(user, channels=["*"], seconds=3_600)
        self.user = user
        self.presence: PresenceReader = open_presence(url, CHANNEL, token=token)
        self.changes: Counter[tuple[str, str]] = Counter()
        self.changed = asyncio.Event()

    async def follow(self) -> None:
        async for change in self.presence:
            self.changes[change.kind, change.member.user] += 1
            self.changed.set()

    async def until(self, count: int) -> None:
        while self.presence.count != count:
            self.changed.clear()
            await self.changed.wait()


async def test_every_list_is_true_after_a_node_was_killed(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    users = [f"u{number}" for number in range(USERS)]
    leavers = set(users[::5])
    with Cluster(3, folder=tmp_path, variables=variables(redis_server.url)) as cluster:
        async with (
            Balancer(cluster.ports) as balancer,
            AsyncExitStack() as exits,
            asyncio.TaskGroup() as tasks,
        ):
            pages = [Page(balancer.url, user) for user in users for _ in range(TABS)]
            closes: dict[Page, AsyncExitStack] = {}
            followers = []
            for start in range(0, len(pages), OPENED_AT_ONCE):
                group = pages[start : start + OPENED_AT_ONCE]
                for page in group:
                    closes[page] = await exits.enter_async_context(AsyncExitStack())
                await asyncio.gather(
                    *(closes[page].enter_async_context(page.presence) for page in group)
                )
                followers += [tasks.create_task(page.follow()) for page in group]
            joined = await all_show(pages, USERS, JOIN_SECONDS)
            check(pages, joined=set(users), left=set())
            cluster.kill(2)
            gone = [page for page in pages if page.user in leavers]
            staying = [page for page in pages if page.user not in leavers]
            for page, follower in zip(pages, followers, strict=True):
                if page in gone:
                    follower.cancel()
            closing = asyncio.gather(*(closes[page].aclose() for page in gone))
            taken = await all_show(staying, USERS - len(leavers), SECONDS)
            await closing
            print(f"all joined after {joined:.1f} s, every list was true after {taken:.1f} s")
            check(staying, joined=set(users), left=leavers)
            for follower in followers:
                follower.cancel()


async def all_show(pages: list[Page], count: int, seconds: float) -> float:
    """Wait until each page shows so many members, and return the time that it took."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    try:
        async with asyncio.timeout(seconds):
            await asyncio.gather(*(page.until(count) for page in pages))
    except TimeoutError:
        late = Counter(page.presence.count for page in pages)
        raise AssertionError(f"after {seconds:g} s, pages by members shown: {late}") from None
    return loop.time() - begin


def check(pages: list[Page], *, joined: set[str], left: set[str]) -> None:
    """Check that each page showed each join and each departure once, and the list is true."""
    for page in pages:
        assert set(page.changes.values()) <= {1}, page.changes
        assert {user for kind, user in page.changes if kind == "left"} == left
        assert {user for kind, user in page.changes if kind == "joined"} <= joined
        shown = [member.user for member in page.presence.members]
        assert len(shown) == min(100, len(joined - left))
        assert set(shown) <= joined - left
