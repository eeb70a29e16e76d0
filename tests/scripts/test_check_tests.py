"""Tests of the checker of the tests: it finds planted patches and private parts."""

import ast
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROBLEMS: Callable[[ast.Module], Iterator[tuple[int, str]]] = runpy.run_path(
    str(Path(__file__).parents[2] / "scripts" / "check_tests.py")
)["problems"]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("monkeypatch.setattr(hub, 'CHECK_SECONDS', 0.1)", "patches the constant CHECK_SECONDS"),
        (
            "monkeypatch.setattr('package.hub.CHECK_SECONDS', 1)",
            "patches the constant CHECK_SECONDS",
        ),
        ("patch.object(hub, 'LIMIT', 1)", "patches the constant LIMIT"),
        ("monkeypatch.setattr(site, '_read', read)", "uses the private _read"),
        ("hub._channels.clear()", "uses the private _channels"),
        ("self.hub._channels", "uses the private _channels"),
        ("from package.hub import _close", "uses the private _close"),
    ],
)
def test_planted_problem_is_found(source: str, problem: str) -> None:
    assert list(PROBLEMS(ast.parse(source))) == [(1, problem)]


@pytest.mark.parametrize(
    "source",
    [
        "monkeypatch.setattr(site.log, 'read', read)",
        "monkeypatch.setenv('REALTIME_BACKEND', 'memory')",
        "self._events.append(1)",
        "super()._step()",
        "place._replace(offset=1)",
        "hub.__class__",
    ],
)
def test_public_part_and_own_part_pass(source: str) -> None:
    assert list(PROBLEMS(ast.parse(source))) == []
