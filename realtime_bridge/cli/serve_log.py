"""Log of `serve` where the environment names none: a file in the working directory."""

import asyncio
import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from realtime_bridge.backend.plugins import BUILT_IN, import_object, load_backend
from realtime_bridge.cli.console import stderr
from realtime_bridge.cli.log_format import LogFormat, line_of
from realtime_bridge.errors import ConfigurationError
from realtime_bridge.publishing.pipeline import log_name, server_pipeline
from realtime_bridge.settings import Settings

NAME = "sqlite"
VARIABLE = "REALTIME_SQLITE_PATH"

FOLDER = ".realtime"
"""Folder in the working directory: two projects of one user must not share their channels."""

FILE = "log.db"


@contextmanager
def prepared_log(*, workers: int, form: LogFormat) -> Generator[None]:
    """Set the path of the log for this process and its workers, where no log is configured.

    A file keeps the history over restarts, and all processes of the port share it. A development
    server with one process keeps its log in memory; with several, the file is temporary.

    Args:
        workers: number of processes.
        form: form of the line that reports a log in memory for want of a file.

    Raises:
        ConfigurationError: no log can be in the file that is configured.
        PublishError: the file cannot be opened.

    """
    settings = Settings.load()
    if log_name(settings) == NAME:
        asyncio.run(_open_and_close(settings))
        yield
    elif not _is_undecided(settings) or (settings.dev and workers == 1):
        yield
    elif settings.dev:
        with tempfile.TemporaryDirectory(prefix="realtime-") as folder:
            os.environ[VARIABLE] = str(Path(folder, FILE))
            yield
    else:
        try:
            _use_file(settings, Path.cwd() / FOLDER)
        except (ConfigurationError, OSError) as error:
            os.environ.pop(VARIABLE, None)
            reason = f"log in memory, which a restart empties: {error}"
            stderr.print(line_of(reason, form, level="WARNING"))
        yield


def describe_log(settings: Settings) -> str:
    """Return the log of the configuration: its file, as seen from here, or its name."""
    name = log_name(settings)
    if name != NAME:
        return name or "none"
    path = Path(_configured_path())
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _is_undecided(settings: Settings) -> bool:
    """Return whether the log is in memory only because no other one is configured."""
    if settings.log != "auto" or log_name(settings) != "memory":
        return False
    return NAME in load_backend(settings.backend).default_logs


def _use_file(settings: Settings, folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    _check_owner(folder)
    ignored = folder / ".gitignore"
    if not ignored.exists():
        ignored.write_text("*\n")
    os.environ[VARIABLE] = str(folder / FILE)
    asyncio.run(_open_and_close(settings))


def _check_owner(folder: Path) -> None:
    # In a working directory such as /tmp, any user can make the folder, and replace the log in it.
    trusted = {Path.cwd().stat().st_uid}
    if hasattr(os, "geteuid"):  # Windows has none
        trusted.add(os.geteuid())
    if not {folder.lstat().st_uid, folder.stat().st_uid} <= trusted:
        raise ConfigurationError(
            f"{folder} is another user's: remove it, or set {VARIABLE} to a path of your own"
        )


async def _open_and_close(settings: Settings) -> None:
    """Make the file, so that a reason against it is known before the server starts."""
    log = server_pipeline(settings).log
    assert log
    async with log:
        pass


def _configured_path() -> str:
    target = BUILT_IN[NAME].settings
    assert target
    return str(import_object(target).load().path)
