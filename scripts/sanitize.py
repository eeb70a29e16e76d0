"""Tests of the compiled core with gcc's sanitizers of addresses and of undefined behaviour."""

import os
import subprocess
import sys
import tempfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from sysconfig import get_path

SOURCES = Path("realtime_bridge/compiled")
FANOUT = "tests/server/fanout"
TESTS = (
    "tests/compiled",
    "tests/compiled/failing_allocations.py",
    f"{FANOUT}/test_flush.py",
    f"{FANOUT}/test_sending.py",
)
FLAGS = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fPIC")

# The module is loaded before the package looks for the usual one.
PROGRAM = """
import sys, pytest
from importlib.util import module_from_spec, spec_from_file_location
name = "realtime_bridge.compiled._core"
spec = spec_from_file_location(name, sys.argv[1])
module = module_from_spec(spec)
spec.loader.exec_module(module)
sys.modules[name] = module
from realtime_bridge.protocol.wire.messages import encode_event
assert encode_event.__self__ is module
sys.exit(pytest.main(sys.argv[2:]))
"""


def library(name: str) -> str:
    """Return the path of a library of gcc."""
    command = ["gcc", f"-print-file-name={name}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main() -> int:
    """Compile the core, run its tests, and return their status."""
    with tempfile.TemporaryDirectory() as folder:
        module = Path(folder, f"_core{EXTENSION_SUFFIXES[0]}")
        sources = sorted(map(str, SOURCES.glob("*.c")))
        include = f"-I{get_path('include')}"
        subprocess.run(["gcc", *FLAGS, "-shared", include, *sources, "-o", module], check=True)
        environment = {
            **os.environ,
            "LD_PRELOAD": f"{library('libasan.so')}:{library('libubsan.so')}",
            # Python itself keeps memory until its end; its own allocator would hide errors.
            "ASAN_OPTIONS": "detect_leaks=0",
            "PYTHONMALLOC": "malloc",
        }
        arguments = ["-q", "-p", "no:xdist", "--timeout", "600", *TESTS, *sys.argv[1:]]
        command = [sys.executable, "-c", PROGRAM, str(module), *arguments]
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
