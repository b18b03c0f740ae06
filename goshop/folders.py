"""Folders for servers: nobody else's, short enough for a socket's name, and reachable by whoever the server runs as."""

import contextlib
import fcntl
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from goshop.processes import StartError, wait_until

# Somebody else's servers on the folder may be ending just now: the kernel signals them when their supervisor was killed.
LOCK_SECONDS: Final = 5.0
# sockaddr_un holds 108 bytes (unix(7)) and PostgreSQL's file name takes 15 of them.
LONGEST_SOCKET_FOLDER: Final = 90


@contextmanager
def locked(folder: Path, *, wait: float | None = None) -> Iterator[int]:
    """Take the folder for ourselves within `wait` seconds; raises `StartError` when another run has it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not wait_until(lambda: try_lock(lock), LOCK_SECONDS if wait is None else wait):
            raise StartError(f"another run uses {folder}")
        yield lock
    finally:
        os.close(lock)


def try_lock(lock: int) -> bool:
    """Lock an open file or folder unless somebody else has; tells whether it is ours now. Closing it ends that."""
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


@contextmanager
def server_files(folder: Path) -> Iterator[Path]:
    """Yield where PostgreSQL's files go: `folder`, or a temporary one that the user it runs as may reach."""
    uid = unprivileged()[1]
    if uid is None:
        yield folder
        return
    with _temporary_folder(uid) as files:
        yield files


@contextmanager
def socket_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder for sockets: `folder`, or a temporary one when its path is too long for a socket's name."""
    if len(os.fsencode(folder.absolute())) <= LONGEST_SOCKET_FOLDER:
        yield folder.absolute()
        return
    with _temporary_folder(unprivileged()[1]) as sockets:
        yield sockets


@contextmanager
def _temporary_folder(owner: int | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="goshop-", ignore_cleanup_errors=True) as name:
        if owner is not None:
            os.chown(name, owner, -1)
        yield Path(name)


def unprivileged() -> tuple[list[str], int | None]:
    """Return a command prefix and a uid that keep PostgreSQL from running as root, which it refuses to.

    A user namespace in which we are "nobody" works wherever our files are; where namespaces are forbidden (containers), the
    uid of nobody does, given that it may read the binaries.
    """
    if os.geteuid() != 0:
        return [], None
    nobody = pwd.getpwnam("nobody").pw_uid
    unshare = shutil.which("unshare")
    if unshare is not None:
        prefix = [unshare, f"--map-user={nobody}", f"--map-group={nobody}"]
        if subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode == 0:
            return prefix, None
    return [], nobody
