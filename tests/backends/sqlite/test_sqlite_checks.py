"""Paths at which no log can be: file systems, modes, versions, systems."""

import os
import sys
from pathlib import Path

import pytest

from realtime_bridge.errors import ConfigurationError
from realtime_bridge_backends.sqlite.checks import check_path, check_version
from realtime_bridge_backends.sqlite.filesystems import mount_of, refused_filesystem

ROOT = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw"


def mountinfo(*mounts: str) -> str:
    """Return a table of mounts; each of these is `POINT TYPE`, with the kernel's escapes."""
    lines = [ROOT]
    for number, mount in enumerate(mounts, 30):
        point, kind = mount.split(" ")
        lines.append(f"{number} 22 0:{number} / {point} rw,noatime shared:{number} - {kind} x rw")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "kind",
    [
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "9p",
        "drvfs",
        "fuse.sshfs",
        "ceph",
        "fuse.ceph-fuse",
        "glusterfs",
        "lustre",
        "afs",
    ],
)
def test_network_file_system_is_refused_with_its_mount(kind: str) -> None:
    table = mountinfo(f"/home {kind}")
    assert refused_filesystem(Path("/home/ann/log.db"), table) == f"{kind} at /home"
    assert refused_filesystem(Path("/homes/log.db"), table) is None


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "overlay", "tmpfs", "fuse.rclone"])
def test_local_file_system_is_accepted(kind: str) -> None:
    assert refused_filesystem(Path("/data/log.db"), mountinfo(f"/data {kind}")) is None


def test_file_system_of_a_program_is_doubtful_unless_refused() -> None:
    kinds = ["fuse", "fuse.rclone", "virtiofs", "fuse.sshfs", "fuseblk", "ext4"]
    mounts = [mount_of(Path("/data/log.db"), mountinfo(f"/data {kind}")) for kind in kinds]
    doubtful = [mount.kind for mount in mounts if mount and mount.is_doubtful]
    assert doubtful == ["fuse", "fuse.rclone", "virtiofs"]


def test_longest_mount_wins_in_any_order() -> None:
    local_below, remote_below = ("/mnt nfs4", "/mnt/disk xfs"), ("/mnt/share cifs", "/mnt ext4")
    assert refused_filesystem(Path("/mnt/disk/log.db"), mountinfo(*local_below)) is None
    assert refused_filesystem(Path("/mnt/log.db"), mountinfo(*local_below)) == "nfs4 at /mnt"
    path = Path("/mnt/share/app/log.db")
    assert refused_filesystem(path, mountinfo(*remote_below)) == "cifs at /mnt/share"


def test_later_mount_covers_an_earlier_one_at_the_same_point() -> None:
    path = Path("/data/log.db")
    assert refused_filesystem(path, mountinfo("/data nfs", "/data ext4")) is None
    assert refused_filesystem(path, mountinfo("/data ext4", "/data nfs")) == "nfs at /data"


def test_bind_mount_of_a_share_is_refused() -> None:
    # A bind mount has the type of its source, and another root in its fourth field.
    line = "41 22 0:41 /exports/app /var/lib/app rw - nfs4 server:/exports rw,addr=10.0.0.1"
    table = f"{ROOT}\n{line}\n"
    assert refused_filesystem(Path("/var/lib/app/log.db"), table) == "nfs4 at /var/lib/app"


def test_blanks_in_a_mount_point_are_read() -> None:
    table = mountinfo(r"/mnt/my\040share\134x nfs4")
    assert refused_filesystem(Path("/mnt/my share\\x/log.db"), table) == (
        "nfs4 at /mnt/my share\\x"
    )


def test_lines_of_another_form_are_skipped() -> None:
    assert refused_filesystem(Path("/data/log.db"), "\n - nfs x\nnonsense\n") is None


def test_relative_path_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"relative.*REALTIME_SQLITE_PATH=/"):
        check_path(Path("log.db"))


def test_good_path_is_accepted_before_and_after_its_file_exists(tmp_path: Path) -> None:
    check_path(tmp_path / "log.db")
    (tmp_path / "log.db").touch(0o600)
    check_path(tmp_path / "log.db")


def test_missing_directory_is_named_with_a_command(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"install -d -m 700 {tmp_path}/absent"):
        check_path(tmp_path / "absent" / "log.db")


def test_file_in_place_of_the_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="file is not a directory"):
        check_path(tmp_path / "file" / "log.db")


@pytest.mark.parametrize("name", ["log.db", "log.db-wal", "log.db-shm", "log.db-lock"])
def test_file_that_everyone_can_write_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    (tmp_path / name).chmod(0o666)
    with pytest.raises(ConfigurationError, match=f"chmod o-w {tmp_path}/{name}`"):
        check_path(tmp_path / "log.db")


def test_directory_that_everyone_can_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o1777)
    with pytest.raises(ConfigurationError, match="open is writable by everyone"):
        check_path(tmp_path / "open" / "log.db")


def test_directory_that_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may write everywhere, so the kernel's answer is replaced.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ConfigurationError, match="cannot be written"):
        check_path(tmp_path / "log.db")


def test_windows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(ConfigurationError, match="needs Linux or macOS"):
        check_path(tmp_path / "log.db")


def test_old_sqlite_is_refused() -> None:
    check_version((3, 37, 0))
    with pytest.raises(ConfigurationError, match=r"SQLite 3\.36\.9 is too old"):
        check_version((3, 36, 9))
