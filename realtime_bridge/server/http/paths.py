"""Path of a request below the mount point of a bridge."""

from realtime_bridge.server.http.request import Scope


def path_below(scope: Scope, mount_path: str) -> str | None:
    """Return the name of the requested route; None for a path outside of the bridge.

    Each route has one spelling, so that a rule of a proxy for it cannot be evaded: percent-encoded
    letters and further slashes name no route.

    Args:
        scope: the ASGI scope.
        mount_path: `REALTIME_PATH`, without a slash at its end.

    """
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    # ASGI servers and frameworks differ: some leave `root_path` in `path`, some remove it. Behind a
    # proxy that strips the application's own root, only the mount point is left.
    mount = root.removeprefix(str(scope.get("app_root_path", "")).rstrip("/"))
    for prefix in (root, mount):
        if prefix and path.startswith(f"{prefix}/"):
            path = path.removeprefix(prefix)
            break
    raw_path = scope.get("raw_path")
    if raw_path and not raw_path.partition(b"?")[0].endswith(path.encode()):
        return None
    if path.startswith(f"{mount_path}/"):
        path = path.removeprefix(mount_path)
    elif not root:
        return None
    return path.removeprefix("/")
