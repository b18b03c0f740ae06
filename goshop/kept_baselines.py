"""Which baselines are kept when another one has been set up: those that were used last, and each that is in use."""

import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from goshop.folders import try_lock
from goshop.measurement import say

# A revision has some megabytes, the virtual environment that it may share some hundreds.
KEPT: Final = 5
LOCKS: Final = "locks"
VENVS: Final = "venvs"
# Half of a folder would be taken for the whole of it.
_REMOVED: Final = ".removed"
_COMMIT: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


@contextmanager
def held(*folders: Path) -> Iterator[None]:
    """Keep some folders from being removed while entered; when this process ends in whatever way, they are free."""
    with ExitStack() as stack:
        for folder in folders:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield


def remove_oldest(folder: Path, used: Path, venv_of: Callable[[Path], Path]) -> None:
    """Say that a baseline has been used now, and remove what has not been for longest, with the environments that nobody has then.

    Only while nobody else sets one up in `folder`. What cannot be removed is said, and stays.
    """
    os.utime(used)
    there = sorted(path for path in folder.iterdir() if path.name not in {LOCKS, VENVS})
    whole = sorted(filter(_is_whole, there), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for path in there:
        if path not in whole:
            _removed(path, "a gate that was killed left it")
    gone = {path for path in whole[KEPT:] if _removed(path, "it was used longest ago")}
    needed = {venv_of(path) for path in whole if path not in gone}
    for venv in sorted((folder / VENVS).iterdir()):
        if venv not in needed:
            _removed(venv, "no baseline needs it")


def _is_whole(path: Path) -> bool:
    # A commit, by SHA-1 or SHA-256.
    return _COMMIT.fullmatch(path.name) is not None


def _removed(path: Path, why: str) -> bool:
    """Remove a folder unless somebody uses it; tells whether it is gone."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if not try_lock(handle):
                return False
            say(f"removing {path}: {why}")
            gone = path if path.name == _REMOVED else path.rename(path.with_name(_REMOVED))
            shutil.rmtree(gone)
        finally:
            os.close(handle)
    except OSError as error:
        say(f"{path} stays: {error}")
        return False
    return True
