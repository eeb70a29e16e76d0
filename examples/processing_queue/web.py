"""What the web applications have in common: one user, the page, uploads, and the bridge."""

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
    """Return who is asking: here always the one demo user; yours looks at the session."""
    return USER


def application(bridge: Bridge, *, page: Path) -> FastAPI:
    """Return an application with the bridge at `/realtime`, and the page of this folder."""
    app = FastAPI(title="Processing queue", lifespan=bridge.lifespan)
    app.mount("/realtime", bridge)
    app.mount("/static", StaticFiles(directory=page), name="static")

    @app.get("/")
    async def index() -> FileResponse:
        """Return the page."""
        return FileResponse(page / "index.html")

    return app


def refuse_other_sites(request: Request) -> None:
    """Refuse what another site's page sends here with our user's browser."""
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise HTTPException(403, "Uploads are taken from this application's own page only.")


async def uploaded(request: Request) -> Upload:
    """Take the file of this request."""
    refuse_other_sites(request)
    folder = configuration.data / "uploads"
    folder.mkdir(exist_ok=True)
    return await receive(request, folder, limit=configuration.upload_limit)


def asking(request: Request) -> str:
    """Return who is asking for a route of the application."""
    return current_user(request)


User = Annotated[str, Depends(asking)]
Uploaded = Annotated[Upload, Depends(uploaded)]
