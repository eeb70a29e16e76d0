"""The files of this machine that become jobs, read where they are."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

MOST_FILES = 500


class IntakeError(Exception):
    """These files cannot become jobs."""


def find_files(paths: Iterable[Path]) -> list[tuple[str, Path]]:
    """Return each file with the name to show, those of a folder by their path in it.

    Raises:
        IntakeError: there is no such file, none at all, or too many.

    """
    return [found for path in paths for found in _files(path.resolve())]


def _files(path: Path) -> list[tuple[str, Path]]:
    if path.is_file():
        return [(path.name, path)]
    if path.is_dir():
        return _files_in(path)
    raise IntakeError(f"There is no file or folder {path}")


def _files_in(folder: Path) -> list[tuple[str, Path]]:
    visible = (path for path in folder.rglob("*") if _is_visible_file(path, folder))
    files = sorted(islice(visible, MOST_FILES + 1))
    if not files:
        raise IntakeError(f"There are no files in {folder}")
    if len(files) > MOST_FILES:
        raise IntakeError(f"{folder} holds over {MOST_FILES} files: choose a smaller folder")
    return [(str(path.relative_to(folder)), path) for path in files]


def _is_visible_file(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return not hidden and path.is_file()
