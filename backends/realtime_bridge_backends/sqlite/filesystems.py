"""File systems on which SQLite's shared memory fails, as `/proc/self/mountinfo` names them."""

import re
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

REFUSED = frozenset(
    [
        "nfs",
        "nfs4",
        "cifs",
        "smb",
        "smb2",
        "smb3",
        "smbfs",
        "9p",
        "drvfs",
        "sshfs",
        "ceph",
        "ceph-fuse",
        "glusterfs",
        "lustre",
        "afs",
    ]
)
"""Types of which each machine, or each side of a virtual machine, has its own shared memory."""

DOUBTFUL = frozenset(("fuse", "virtiofs"))
"""Types whose locks and shared memory depend on the program behind them."""

_POINT = 4
"""Index of the mount point among the fields of a line."""

MOUNTINFO = Path("/proc/self/mountinfo")
"""Linux's table of this process's mounts; other systems have none."""


class Mount(Struct, frozen=True):
    """Mounted file system.

    Args:
        point: the directory at which it is mounted.
        kind: its type, such as `ext4` or `fuse.sshfs`.

    """

    point: str
    kind: str

    def __str__(self) -> str:
        return f"{self.kind} at {self.point}"

    @property
    def is_refused(self) -> bool:
        """True if SQLite's write-ahead log is known to fail there."""
        return self.kind.removeprefix("fuse.") in REFUSED

    @property
    def is_doubtful(self) -> bool:
        """True if its program decides whether the write-ahead log works there."""
        return not self.is_refused and self.kind.partition(".")[0] in DOUBTFUL


def read_mountinfo() -> str:
    """Return the table of mounts, or nothing where the system has none."""
    try:
        return MOUNTINFO.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def mount_of(path: Path, mountinfo: str) -> Mount | None:
    """Return the mount that has a path: the longest one above it, and of equal ones the last.

    Args:
        path: absolute path without symbolic links.
        mountinfo: content of `/proc/self/mountinfo`.

    """
    above = [mount for mount in _mounts(mountinfo) if path.is_relative_to(mount.point)]
    # `sorted` keeps the order of equal ones, and a later mount covers an earlier one.
    return max(reversed(above), key=lambda mount: len(mount.point), default=None)


def refused_filesystem(path: Path, mountinfo: str) -> str | None:
    """Return the mount of a path, such as `nfs4 at /home`, if SQLite fails there; else None."""
    mount = mount_of(path, mountinfo)
    return str(mount) if mount and mount.is_refused else None


def _mounts(mountinfo: str) -> Iterator[Mount]:
    for line in mountinfo.splitlines():
        # Optional fields precede the hyphen, so the type has no fixed place before it.
        fields, _, rest = line.partition(" - ")
        parts = fields.split(" ")
        if rest and len(parts) > _POINT:
            yield Mount(_unescape(parts[_POINT]), rest.partition(" ")[0])


def _unescape(text: str) -> str:
    """Return a field without the kernel's octal escapes of blanks and backslashes."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
