"""Backend of a third party: found by its entry point, and tested by the contract."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_backend"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a folder with the example installed like its wheel, without the network."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())
    site = tmp_path / "site"
    site.mkdir()
    for module in project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]:
        shutil.copy(EXAMPLE / module, site)
    name, version = project["project"]["name"], project["project"]["version"]
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(_as_ini(project["project"]["entry-points"]))
    return site


def _as_ini(groups: dict[str, dict[str, str]]) -> str:
    return "".join(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in groups.items()
    )


def run(site: Path, *command: str, cwd: Path, **environment: str) -> str:
    """Run Python with the backend installed, and with no other REALTIME_ variables."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("REALTIME_")}
    result = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env={**others, "PYTHONPATH": str(site), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


PUBLISH = """
from realtime_bridge import BlockingBroadcaster
with BlockingBroadcaster.from_env() as broadcaster:
    print(broadcaster.publish("user-42", "job.progress", {"percent": 30}, id="one"))
"""


def test_backend_is_selected_by_its_name_alone(site: Path, tmp_path: Path) -> None:
    path = tmp_path / "lines"
    run(site, "-c", PUBLISH, cwd=tmp_path, REALTIME_BACKEND="jsonlines", JSONLINES_PATH=str(path))
    assert json.loads(path.read_text()) == {
        "type": "event",
        "channel": "user-42",
        "event": "job.progress",
        "id": "one",
        "time": json.loads(path.read_text())["time"],
        "data": {"percent": 30},
    }


def test_backend_is_listed_with_the_built_in_ones(site: Path, tmp_path: Path) -> None:
    program = (
        "from realtime_bridge.backend.plugins import installed_backends; "
        "print(*installed_backends())"
    )
    assert "jsonlines" in run(site, "-c", program, cwd=tmp_path).split()


def test_backend_passes_the_contract_in_its_own_pytest(site: Path, tmp_path: Path) -> None:
    for file in ("pyproject.toml", "test_jsonlines.py"):
        shutil.copy(EXAMPLE / file, tmp_path)
    # By default pytest restricts the folder that all runs of a user share to that user. The
    # PostgreSQL servers of other tests run as another user, and need their way through it.
    options = ("-q", "-p", "no:cacheprovider", "--basetemp=own")
    output = run(site, "-m", "pytest", *options, cwd=tmp_path)
    assert "passed" in output
    assert "skipped" not in output
