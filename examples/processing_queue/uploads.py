"""Upload, streamed from the request to a file."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import File, FormParser, parse_options_header

MAX_NAME = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """Complete upload, with the name that its user gave it."""

    name: str
    path: Path
    size: int


async def receive(request: Request, folder: Path, *, limit: int) -> Upload:
    """Write the file of a multipart request into `folder`, under a generated name.

    Raises:
        HTTPException: the file is over `limit` bytes, or the request has not exactly one file.

    """
    _check_size(int(request.headers.get("content-length", 0)), limit)
    with tempfile.TemporaryDirectory(dir=folder, prefix="arriving-") as arriving:
        files: list[File] = []
        parser = _parser(request, Path(arriving), files)
        await _feed(parser, request, limit)
        if len(files) != 1:
            raise HTTPException(400, "Send one file, as multipart/form-data.")
        return await run_in_threadpool(_keep, files[0], folder)


async def _feed(parser: FormParser, request: Request, limit: int) -> None:
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        _check_size(received, limit)
        try:
            await run_in_threadpool(parser.write, chunk)
        except FormParserError as error:
            raise HTTPException(400, f"This is not multipart/form-data: {error}") from error


def _parser(request: Request, folder: Path, files: list[File]) -> FormParser:
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data" or b"boundary" not in options:
        raise HTTPException(415, "Send the file as multipart/form-data.")
    return FormParser(
        "multipart/form-data",
        on_field=None,
        on_file=files.append,
        boundary=options[b"boundary"],
        config={"UPLOAD_DIR": str(folder), "UPLOAD_DELETE_TMP": False, "MAX_MEMORY_FILE_SIZE": 0},
    )


def _keep(file: File, folder: Path) -> Upload:
    if file.in_memory:
        file.flush_to_disk()
    assert file.actual_file_name
    temporary = Path(file.actual_file_name.decode())
    file.close()
    path = temporary.rename(folder / uuid4().hex)
    return Upload(name=display_name(file.file_name), path=path, size=file.size)


def display_name(name: bytes | None) -> str:
    """Return the last part of a file's name, printable and at most 120 characters long."""
    last = (name or b"").decode(errors="replace").replace("\\", "/").rsplit("/", 1)[-1]
    printable = "".join(filter(str.isprintable, last)).strip()
    return printable[:MAX_NAME] or "unnamed"


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise HTTPException(413, f"The file is over the limit of {limit:,} bytes.")
