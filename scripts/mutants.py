"""Run of planted faults: for each patch of `tests/mutants/`, a test or the simulation must fail.

A patch begins with a sentence that states what it breaks. A line such as `Test: pytest PATH` or
`Test: vitest PATH` names the cheapest test that finds it; without one, the simulation must find it.
Each patch is applied to a copy of the project. A test or seed that fails without the patch too
does not count.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic

ROOT = Path(__file__).parent.parent
CLIENT = Path("clients/js")
MODULES = CLIENT / "node_modules"
TIMEOUT = 900.0
SEEDS_AT_ONCE = 500  # of one process: 4 000 may take longer than the timeout on a busy machine
FAILED = 1  # exit code of pytest and vitest for failed tests
FAILURE = re.compile(r"^(?:FAILED| FAIL ) (?:.*?(?:::| > ))?(.+?)(?: - .*)?$", re.MULTILINE)
"""First failed test, in the output of pytest or vitest."""


@dataclass(frozen=True)
class Patch:
    """Planted fault, with its sentence and its test."""

    number: str
    text: str
    sentence: str
    test: str | None

    @classmethod
    def load(cls, path: Path) -> "Patch":
        """Return the patch of a file."""
        text = path.read_text(encoding="utf-8")
        test = re.search(r"^Test: (.+)$", text, re.MULTILINE)
        number, sentence = path.name.partition("-")[0], text.partition("\n")[0]
        return cls(number, text, sentence, test[1] if test else None)


@dataclass(frozen=True)
class Result:
    """Result of one planted fault."""

    patch: Patch
    is_found: bool
    found_by: str
    seconds: float


def copy_project(folder: Path) -> None:
    """Copy the project's files and its compiled module; link the packages of npm one by one."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, text=True, capture_output=True, check=True).stdout
    compiled = (path.relative_to(ROOT) for path in (ROOT / "realtime_bridge").rglob("*.so"))
    for name in (*map(Path, names.split("\0")[:-1]), *compiled):
        if (ROOT / name).is_file():  # a deleted file may still be in the index
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    # A link to the whole folder would let vitest write its cache into the checkout.
    (folder / MODULES).mkdir(parents=True)
    for package in (*(ROOT / MODULES).glob("[!.]*"), ROOT / MODULES / ".bin"):
        (folder / MODULES / package.name).symlink_to(package)


def apply(patch: Patch, folder: Path) -> str | None:
    """Apply a patch to a copy; return the problem if it does not apply."""
    applied = subprocess.run(
        ["patch", "--strip=1", "--silent", "--forward"],
        cwd=folder, input=patch.text, text=True, capture_output=True, check=False,
    )  # fmt: skip
    return f"does not apply: {applied.stdout}{applied.stderr}" if applied.returncode else None


def run(patch: Patch, arguments: list[str], *, original: Path, first: int, seeds: int) -> Result:
    """Plant one fault, and run its test, or seeds until one fails because of the fault."""
    start = monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_project(folder)
        if problem := apply(patch, folder):
            return Result(patch, is_found=False, found_by=problem, seconds=0)
        try:
            if patch.test:
                finding = failed_test(patch.test, execute(patch.test, folder))
            else:
                finding = search(folder, original, arguments, first, first + seeds)
            found_by = finding or "NOT FOUND"
        except subprocess.TimeoutExpired:
            finding, found_by = None, f"did not end within {TIMEOUT:.0f} s"
    return Result(patch, finding is not None, found_by, monotonic() - start)


def failed_test(command: str, process: subprocess.CompletedProcess[str]) -> str | None:
    """Return the name of the test that failed; None if none did, or if tests could not run."""
    if process.returncode != FAILED:
        return None
    if not command.startswith(("pytest", "vitest")):
        return command
    failure = FAILURE.search(process.stdout + process.stderr)
    # vitest exits with the same code if a file cannot be loaded: then it has no failed test.
    is_run = command.startswith("pytest") or re.search(r"Tests +\d+ failed", process.stdout)
    return failure[1] if failure and is_run else None


def search(folder: Path, original: Path, arguments: list[str], first: int, end: int) -> str | None:
    """Return a phrase for the first seed that fails with the fault, and passes without it."""
    while first < end:
        seeds = min(SEEDS_AT_ONCE, end - first)
        process = simulate(folder, first, seeds, arguments)
        failure = re.match(r"seed (\d+): (I\d+|\S+)", process.stdout)
        if process.returncode == 0:
            first += seeds
            continue
        if failure is None:
            return None
        seed = int(failure[1])
        if simulate(original, seed, 1, arguments).returncode == 0:
            return f"simulation: {failure[2]}, seed {seed}"
        first = seed + 1
    return None


def simulate(
    folder: Path, first: int, seeds: int, arguments: list[str]
) -> subprocess.CompletedProcess[str]:
    """Run the simulation of a copy."""
    numbers = f"--from {first} --seeds {seeds} --processes 1"
    return execute(
        shlex.join(["realtime_bridge.testing.simulation", *numbers.split(), *arguments]), folder
    )


def execute(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run vitest or a Python module in a copy."""
    module, *arguments = shlex.split(command)
    if module == "vitest":
        words, cwd = [str(folder / MODULES / ".bin" / "vitest"), "run"], folder / CLIENT
    else:
        words, cwd = [sys.executable, "-P", "-m", module], folder
    paths = os.pathsep.join([str(folder), str(folder / "backends")])
    return subprocess.run(
        [*words, *arguments], cwd=cwd, env={**os.environ, "PYTHONPATH": paths, "NO_COLOR": "1"},
        capture_output=True, text=True, check=False, timeout=TIMEOUT,
    )  # fmt: skip


def check_tests(patches: Iterable[Patch], folder: Path) -> list[str]:
    """Return a line for each named test that fails without a patch."""
    problems = []
    for command in sorted({patch.test for patch in patches if patch.test}):
        process = execute(command, folder)
        if process.returncode:
            problems.append(f"fails without a patch: {command}\n{process.stdout[-500:]}")
    return problems


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
    patches = [Patch.load(path) for path in sorted((ROOT / "tests/mutants").glob("*.patch"))]
    chosen = [patch for patch in patches if not options.names or patch.number in options.names]
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(options.processes) as pool:
        original = Path(name)
        copy_project(original)
        problems = check_tests(chosen, original)
        start = partial(
            run, arguments=arguments, original=original, first=options.first, seeds=options.seeds
        )
        found = sum(map(report, pool.map(start, chosen)))
    for problem in problems:
        sys.stdout.write(f"{problem}\n")
    sys.stdout.write(f"{found} of {len(chosen)} planted faults were found\n")
    return 0 if found == len(chosen) and not problems else 1


def report(result: Result) -> bool:
    """Print a row of the table, and return whether the fault was found."""
    patch = result.patch
    row = f"{patch.number}  {patch.sentence}  {result.found_by}  {result.seconds:.0f} s\n"
    sys.stdout.write(row)
    sys.stdout.flush()
    return result.is_found


if __name__ == "__main__":
    sys.exit(main())
