"""Gate of the type completeness: the part of the public interface whose types are written down.

Type checkers infer a missing annotation differently; a library therefore writes all of them.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOT_CAUSES = ("missing type annotation", "Ambiguous base class override", "is unknown")


def verify(package: str) -> dict[str, object]:
    """Return pyright's report on a package that is installed next to this interpreter."""
    scripts = str(Path(sys.executable).parent)
    command = ["pyright", "--ignoreexternal", "--outputjson", "--verifytypes", package]
    path = os.pathsep.join([scripts, os.environ["PATH"]])  # pyright reads the first python there
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PATH": path}
    )
    if not done.stdout.startswith("{"):
        raise SystemExit(f"pyright failed: {done.stderr or done.stdout}")
    report: dict[str, object] = json.loads(done.stdout)["typeCompleteness"]
    return report


def causes(report: dict[str, object]) -> list[str]:
    """Return `path:line: message` of each place where an annotation is missing."""
    assert isinstance(report["symbols"], list)
    places = {
        (
            os.path.relpath(diagnostic["file"], ROOT),
            diagnostic["range"]["start"]["line"] + 1,
            diagnostic["message"].splitlines()[0],
        )
        for symbol in report["symbols"]
        for diagnostic in symbol["diagnostics"]
        if "file" in diagnostic and any(cause in diagnostic["message"] for cause in ROOT_CAUSES)
    }
    return [f"{path}:{line}: {message}" for path, line, message in sorted(places)]


def main() -> int:
    """Print the completeness, and where it is too low each cause; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package")
    parser.add_argument("--at-least", type=float, default=100.0, metavar="PERCENT")
    arguments = parser.parse_args()
    report = verify(arguments.package)
    assert isinstance(report["completenessScore"], float | int)
    percent = 100 * report["completenessScore"]
    if percent < arguments.at_least:
        print("\n".join(causes(report)))
    print(f"{arguments.package}: {percent:.1f} % of the public types are complete")
    return int(percent < arguments.at_least)


if __name__ == "__main__":
    sys.exit(main())
