"""Test of the tests: they patch no constant and use no private part of the library."""

import subprocess
import sys
from pathlib import Path

CHECKER = Path(__file__).parents[1] / "scripts" / "check_tests.py"


def test_tests_use_public_parts_only() -> None:
    done = subprocess.run(
        [sys.executable, str(CHECKER)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, f"pass values and use public names instead:\n{done.stdout}"
