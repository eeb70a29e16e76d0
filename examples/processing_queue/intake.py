"""Local files that become jobs; they are read in place."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

MAX_FILES = 500


class IntakeError(Exception):
    """Files that cannot become jobs."""


def find_files(paths: Iterable[Path]) -> list[tuple[str, Path]]:
    """Return the display name and the path of each file; a folder's files are named by their paths.

    Raises:
        IntakeError: a file is missing, or a folder is empty or has too many files.

    """
    return [file for path in paths for file in _files(path.resolve())]


def _files(path: Path) -> list[tuple[str, Path]]:
    if path.is_file():
        return [(path.name, path)]
    if path.is_dir():
        return _files_in(path)
    raise IntakeError(f"{path} does not exist: name a file or a folder")


def _files_in(folder: Path) -> list[tuple[str, Path]]:
    visible = (path for path in folder.rglob("*") if _is_visible_file(path, folder))
    files = sorted(islice(visible, MAX_FILES + 1))
    if not files:
        raise IntakeError(f"There are no files in {folder}")
    if len(files) > MAX_FILES:
        raise IntakeError(f"{folder} has over {MAX_FILES} files: choose a smaller folder")
    return [(str(path.relative_to(folder)), path) for path in files]


def _is_visible_file(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return not hidden and path.is_file()
