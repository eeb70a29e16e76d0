"""Test of the script that measures journeys; its figures are not pinned."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "journeys.py"


def test_every_journey_has_positive_counts() -> None:
    command = [sys.executable, str(SCRIPT), "--runs", "1", "--json"]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    counts = json.loads(output.stdout)
    assert list(counts) == ["publish", "poll", "reconnect", "client_drop"]
    for journey in counts.values():
        assert list(journey) == ["files", "calls", "changes"]
        assert 0 < journey["files"] <= journey["changes"] + 1 <= journey["calls"]
