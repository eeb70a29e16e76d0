"""Common parts of the web applications: user, page, uploads and bridge."""

from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from configuration import USER, Configuration
from realtime_bridge.server import Bridge
from uploads import Upload, receive

STATIC = Path(__file__).parent / "static"

configuration = Configuration.from_env()


def current_user(request: Any) -> str:
    """Return the user of a request: the demo user; your application reads the session."""
    return USER


def application(bridge: Bridge, *, page: Path) -> FastAPI:
    """Return an application with the bridge at `/realtime` and the page of a folder."""
    app = FastAPI(title="Processing queue", lifespan=bridge.lifespan)
    app.mount("/realtime", bridge)
    app.mount("/static", StaticFiles(directory=page), name="static")

    @app.get("/")
    async def index() -> FileResponse:
        """Return the page."""
        return FileResponse(page / "index.html")

    return app


def reject_other_sites(request: Request) -> None:
    """Reject a request that another site sends by our user's browser."""
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise HTTPException(403, "Uploads are accepted from this application's own page only.")


async def receive_upload(request: Request) -> Upload:
    """Store the file of a request."""
    reject_other_sites(request)
    folder = configuration.data / "uploads"
    folder.mkdir(exist_ok=True)
    return await receive(request, folder, limit=configuration.upload_limit)


def request_user(request: Request) -> str:
    """Return the user of a request to the application's own routes."""
    return current_user(request)


User = Annotated[str, Depends(request_user)]
Uploaded = Annotated[Upload, Depends(receive_upload)]
