"""Run of planted faults: each patch of `tests/mutants/` must make the simulation fail.

A patch begins with a sentence that states what it breaks. A line such as `Test: pytest PATH` names
a module that must fail in place of the simulation. Each patch is applied to a copy of the packages,
which PYTHONPATH puts first. A seed that fails without the patch too does not count.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic

ROOT = Path(__file__).parent.parent
PACKAGES = ("realtime_bridge", "backends/realtime_bridge_backends")
TIMEOUT = 900.0
FAILED = 1  # exit code of pytest for failed tests; others are errors of the run itself


@dataclass(frozen=True)
class Result:
    """Result of one planted fault."""

    name: str
    outcome: str
    seconds: float

    @property
    def is_found(self) -> bool:
        """True if the command failed, as it must."""
        return self.outcome.startswith("found")


def copy_with(patch: str, folder: Path) -> None:
    """Copy the packages into a folder, and apply the patch there."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package)
    applied = subprocess.run(
        ["patch", "--strip=1", "--silent"],
        cwd=folder, input=patch, text=True, capture_output=True, check=False,
    )  # fmt: skip
    if applied.returncode:
        raise ValueError(applied.stdout + applied.stderr)


def run(path: Path, arguments: list[str], *, first: int, seeds: int) -> Result:
    """Plant one fault, and run its command until a seed fails because of the fault."""
    patch, start = path.read_text(encoding="utf-8"), monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            copy_with(patch, Path(folder))
        except ValueError as error:
            return Result(path.stem, f"does not apply: {error}", 0)
        named = re.search(r"^Test: (.+)$", patch, re.MULTILINE)
        if named:
            command = [*shlex.split(named[1])]
            process = execute(command, folder)
            text = "found by its test" if process.returncode == FAILED else process.stdout[-200:]
            return Result(path.stem, text, monotonic() - start)
        text = search(folder, arguments, first, first + seeds)
    return Result(path.stem, text, monotonic() - start)


def search(folder: str, arguments: list[str], first: int, end: int) -> str:
    """Return a phrase for the first seed that fails with the fault, and passes without it."""
    while first < end:
        process = simulate(folder, first, end - first, arguments)
        failure = re.match(r"seed (\d+): (I\d+|\S+)", process.stdout)
        if failure is None:
            return process.stderr[-300:] or "NOT FOUND"
        seed = int(failure[1])
        if simulate(None, seed, 1, arguments).returncode == 0:
            return f"found: {failure[2]}, seed {seed}"
        first = seed + 1
    return "NOT FOUND"


def simulate(
    folder: str | None, first: int, seeds: int, arguments: list[str]
) -> subprocess.CompletedProcess[str]:
    """Run the simulation, with the packages of a folder or with those of the project."""
    numbers = ["--from", str(first), "--seeds", str(seeds), "--processes", "1"]
    return execute(["realtime_bridge.testing.simulation", *numbers, *arguments], folder)


def execute(module: list[str], folder: str | None) -> subprocess.CompletedProcess[str]:
    """Run a Python module, with the packages of a folder or with those of the project."""
    root = Path(folder or ROOT)
    paths = os.pathsep.join(str((root / package).parent) for package in PACKAGES)
    return subprocess.run(
        # -P: the working directory has the packages without the fault.
        [sys.executable, "-P", "-m", *module],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": paths},
        capture_output=True, text=True, check=False, timeout=TIMEOUT,
    )  # fmt: skip


def main() -> int:
    """Run all patches, or the named ones, and print a table."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="numbers of patches, such as 03 (all)")
    parser.add_argument("--seeds", type=int, default=4000, help="seeds of each patch (4000)")
    parser.add_argument("--from", type=int, default=0, dest="first", help="first seed (0)")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="patches at a time")
    parser.add_argument("--skip", action="append", default=[], help="invariant that is not checked")
    parser.add_argument("--without", action="append", default=[], help="fault that is not drawn")
    options = parser.parse_args()
    arguments = [part for name in options.skip for part in ("--skip", name)]
    arguments += [part for name in options.without for part in ("--without", name)]
    patches = sorted((ROOT / "tests" / "mutants").glob("*.patch"))
    chosen = [path for path in patches if not options.names or path.name[:2] in options.names]
    results = []
    with ThreadPoolExecutor(options.processes) as pool:
        start = partial(run, arguments=arguments, first=options.first, seeds=options.seeds)
        for result in pool.map(start, chosen):
            results.append(result)
            sys.stdout.write(f"{result.name:36} {result.seconds:5.0f} s  {result.outcome}\n")
            sys.stdout.flush()
    found = sum(result.is_found for result in results)
    sys.stdout.write(f"{found} of {len(results)} planted faults were found\n")
    return 0 if found == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
