"""Web application: an upload calls the task, and Celery's signals report it."""

from on_celery.tasks import process_file
from realtime_bridge.server import Bridge
from web import Uploaded, User, application, configuration, current_user

bridge = Bridge.from_env(authenticate=current_user)
app = application(bridge, page=configuration.data / "page")


@app.post("/api/upload", status_code=201)
def upload(user: User, file: Uploaded) -> dict[str, str]:
    """Accept a file, and queue a job for it."""
    return {"job": process_file.delay(user=user, name=file.name, path=str(file.path)).id}
