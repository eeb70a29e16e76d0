"""Refusal of requests while a process has more than it can answer in time."""

from realtime_bridge.server.overload import Overload, client_route

LIMIT = 2.0


def refusals(*requests: tuple[float, str, float], is_first: bool = True) -> list[bool]:
    """Return which requests are refused; each is a moment, a route, and the seconds it waited."""
    overload = Overload(LIMIT)
    return [
        overload.refuses(route, waited, now, is_first=is_first) for now, route, waited in requests
    ]


def test_stall_of_a_process_refuses_nothing() -> None:
    stalled = [(0.01 * number, "poll", 5.0) for number in range(50)]
    assert not any(refusals(*stalled, (1.5, "poll", 0.0), (2.9, "connect", 5.0)))


def test_sustained_wait_refuses_until_the_queue_is_short() -> None:
    late = [(0.2 * number, "connect", 2.5) for number in range(7)]
    assert refusals(*late) == [False] * 5 + [True] * 2
    # In between, those that connect are served, and reads are refused.
    after = [(1.4, "connect", 1.5), (1.5, "poll", 1.5), (1.6, "poll", 0.5), (1.7, "latest", 1.5)]
    assert refusals(*late, *after)[-4:] == [False, True, False, False]


def test_pause_without_requests_begins_again() -> None:
    late = [(0.5 * number, "ws", 3.0) for number in range(4)]
    assert refusals(*late)[-1]
    assert not refusals(*late, (10.0, "ws", 3.0))[-1]


def test_open_connections_do_not_hide_the_queue_of_new_ones() -> None:
    overload = Overload(LIMIT)
    for number in range(20):
        now = 0.1 * number
        overload.refuses("ws", 4.0, now, is_first=True)
        is_refused = overload.refuses("poll", 0.0, now, is_first=False)
    assert is_refused
    assert overload.refuses("ws", 4.0, now, is_first=True)
    assert not overload.refuses("connect", 0.0, now, is_first=False)


def test_one_record_stands_for_requests_at_nearly_the_same_moment() -> None:
    overload = Overload(LIMIT)
    assert not overload.is_calm(0.0, is_first=True)
    overload.refuses("connect", 0.0, 0.0, is_first=True)
    assert overload.is_calm(0.005, is_first=True)
    assert not overload.is_calm(0.005, is_first=False)
    assert not overload.is_calm(0.015, is_first=True)


def test_overload_of_another_queue_is_not_calm() -> None:
    overload = Overload(LIMIT)
    for number in range(7):
        overload.refuses("connect", 2.5, 0.2 * number, is_first=True)
    overload.refuses("poll", 0.0, 1.2, is_first=False)
    assert not overload.is_calm(1.205, is_first=True)
    assert not overload.is_calm(1.205, is_first=False)


def test_routes_of_workers_and_health_checks_are_never_refused() -> None:
    assert client_route(b"/realtime/poll?a=/x", "/realtime") == "poll"
    assert client_route(b"/outer/realtime/ws", "/realtime") == "ws"
    for url in (b"/realtime/publish", b"/realtime/health/ready", b"/other/poll", b"/\xffpoll"):
        assert client_route(url, "/realtime") is None
