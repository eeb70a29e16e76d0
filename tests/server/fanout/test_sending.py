"""The same bytes to many sockets, from C or from Python: who takes less is named."""

import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator

import pytest

from realtime_bridge.server.fanout import sending
from realtime_bridge.server.fanout.sending import WriteTarget

SendAll = Callable[[Iterable[WriteTarget], bytes], list[tuple[int, int]]]
READY = b"x" * 4096


@pytest.fixture(params=[sending.send_all, sending.in_python], ids=["C", "Python"])
def send_all(request: pytest.FixtureRequest) -> SendAll:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    made = [socket.socketpair() for _ in range(5)]
    for near, _ in made:
        near.setblocking(False)
    yield made
    for pair in made:
        for one in pair:
            one.close()


Pairs = list[tuple[socket.socket, socket.socket]]


def numbers(pairs: Pairs) -> list[WriteTarget]:
    return [near.fileno() for near, _ in pairs]


def test_every_socket_gets_all(send_all: SendAll, pairs: Pairs) -> None:
    assert send_all(numbers(pairs), READY) == []
    assert [far.recv(10_000) for _, far in pairs] == [READY] * 5


def test_empty_list_of_targets_is_valid(send_all: SendAll) -> None:
    assert send_all([], READY) == []


def test_full_socket_is_returned_with_its_bytes(send_all: SendAll, pairs: Pairs) -> None:
    near, far = pairs[3]
    far.setblocking(False)
    large = b"y" * 3_000_000
    [(place, sent)] = send_all([near.fileno()], large)
    assert place == 0
    assert 0 < sent < len(large)
    assert send_all(numbers(pairs), READY) == [(3, 0)]
    came = 0
    while came < sent:
        came += len(far.recv(1_000_000))
    assert came == sent
    assert [far.recv(10_000) for _, far in pairs[:3] + pairs[4:]] == [READY] * 4


def test_closed_socket_takes_nothing(send_all: SendAll, pairs: Pairs) -> None:
    pairs[1][1].close()
    assert send_all(numbers(pairs), READY) == [(1, 0)]
    assert pairs[4][1].recv(10_000) == READY


def test_number_of_no_socket_takes_nothing(send_all: SendAll, pairs: Pairs) -> None:
    assert send_all([-1, *numbers(pairs)], READY) == [(0, 0)]
    assert [far.recv(10_000) for _, far in pairs] == [READY] * 5


def test_function_target_is_called(send_all: SendAll, pairs: Pairs) -> None:
    called: list[bytes] = []

    def takes_all(data: bytes) -> int:
        called.append(data)
        return len(data)

    def fails(_: bytes) -> int:
        raise ConnectionResetError

    outlets: list[WriteTarget] = [takes_all, pairs[0][0].fileno(), lambda _: 7, fails]
    assert send_all(outlets, READY) == [(2, 7), (3, 0)]
    assert called == [READY]
    assert pairs[0][1].recv(10_000) == READY


@pytest.mark.parametrize("outlet", [None, "text"])
def test_invalid_target_raises_type_error(send_all: SendAll, outlet: WriteTarget) -> None:
    with pytest.raises(TypeError):
        send_all([outlet], READY)


def test_compiled_function_is_used_if_present() -> None:
    assert sending.send_all is not sending.in_python


def test_python_is_used_without_the_compiled_module() -> None:
    program = (
        "import sys; sys.modules['realtime_bridge.compiled._core'] = None\n"
        "from realtime_bridge.server.fanout import sending\n"
        "assert sending.send_all is sending.in_python"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
