"""An upload, streamed from the request to a file of ours."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import File, FormParser, parse_options_header

LONGEST_NAME = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that has arrived: what its user calls it, and where it is."""

    name: str
    path: Path
    size: int


async def receive(request: Request, folder: Path, *, limit: int) -> Upload:
    """Write the one file of a multipart request into `folder`, under a name of our own.

    Raises:
        HTTPException: it is over the limit of bytes, or the request holds no single file.

    """
    _refuse_if_over(int(request.headers.get("content-length", 0)), limit)
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
        _refuse_if_over(received, limit)
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
    arrived = Path(file.actual_file_name.decode())
    file.close()
    path = arrived.rename(folder / uuid4().hex)
    return Upload(name=display_name(file.file_name), path=path, size=file.size)


def display_name(name: bytes | None) -> str:
    """Return what to call a file: the last part of its name, printable and not too long."""
    last = (name or b"").decode(errors="replace").replace("\\", "/").rsplit("/", 1)[-1]
    printable = "".join(filter(str.isprintable, last)).strip()
    return printable[:LONGEST_NAME] or "unnamed"


def _refuse_if_over(size: int, limit: int) -> None:
    if size > limit:
        raise HTTPException(413, f"The file is over the limit of {limit:,} bytes.")
