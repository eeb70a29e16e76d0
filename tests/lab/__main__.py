"""Command line of the lab: `python -m tests.lab [NAMES] [--long]`, or `[NAMES] --soak 30`."""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from tests.lab import report
from tests.lab.processes import build_client
from tests.lab.run import Run, run
from tests.lab.schedule import Schedule
from tests.lab.schedules import find, soaks

FILES = 65_536


def main() -> int:
    """Run the chosen schedules one after the other; return 1 if one failed."""
    parser = argparse.ArgumentParser(prog="tests.lab", description=__doc__)
    parser.add_argument("names", nargs="*", help="names or patterns, such as 'redis-*'")
    parser.add_argument("--long", action="store_true", help="the long schedules too")
    parser.add_argument("--list", action="store_true", help="print the names only")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="run the soaks alone")
    parser.add_argument("--crowd", type=int, default=1_000, help="clients of the soak")
    parser.add_argument("--folder", type=Path, help="folder that keeps data and logs")
    options = parser.parse_args()
    if options.soak:
        chosen = soaks(options.names, options.soak * 60, crowd=options.crowd)
        allow_files()
    else:
        chosen = find(options.names, is_long=options.long)
    if options.list:
        print("\n".join(schedule.name for schedule in chosen))
        return 0
    if options.folder:
        return run_all(chosen, options.folder)
    with tempfile.TemporaryDirectory(prefix="lab-") as folder:
        return run_all(chosen, Path(folder))


def run_all(chosen: list[Schedule], folder: Path) -> int:
    """Run schedules in a folder, and print a line for each."""
    folder.mkdir(parents=True, exist_ok=True)
    bundle = build_client(folder)
    print(report.HEAD, flush=True)
    failures = 0
    for schedule in chosen:
        own = folder / f"{schedule.name}-{time.strftime('%H%M%S')}"
        own.mkdir()
        try:
            # Its links carry the traffic of all clients and of all nodes.
            finished = uvloop.run(run(schedule, own, bundle))
        except Exception as error:
            # The next schedules have servers of their own.
            print(f"{schedule.name:34} FAILED to run: {error!r}", flush=True)
            failures += 1
        else:
            failures += not finished.verdict.is_ok
            _print(finished)
    print(f"{len(chosen) - failures} of {len(chosen)} schedules passed")
    return int(failures > 0)


def allow_files() -> None:
    """Raise the limit of open files: a client has five in this process and its node."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, most), most))


def _print(finished: Run) -> None:
    print(report.line(finished))
    if finished.verdict.schedule.crowd:
        print(report.memory(finished))
    for text in report.story(finished):
        print(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
