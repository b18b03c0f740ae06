"""Former runs of a gate, one JSON line each, the latest last: what the next run learns its noise from (`slo.history`).

They lie in `.goshop/history/<gate>.jsonl`, or where `--history` says: a file that a CI job keeps from run to run. What is
in it can only ask for more requests: whoever writes into it can leave undecided what would have passed, no more.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from goshop.folders import try_lock
from goshop.measurement import WrongRequest, tell
from goshop.processes import wait_until
from slo.history import FormerRun
from slo.report.foreign import plain

# In place of a file's name: read none, write none.
NONE: Final = "none"
MOST_RUNS: Final = 200
# 200 runs of ten objectives are a tenth of it.
MOST_BYTES: Final = 4 * 1024 * 1024
# Nobody writes for longer than a moment.
_LOCK_SECONDS: Final = 5.0


def history_file(asked: str, root: Path, gate: str) -> Path | None:
    """Return the file as it was asked for ("" by default below `root`); None where nothing is to be read or kept."""
    if asked == NONE:
        return None
    return Path(asked) if asked else root / "history" / f"{gate}.jsonl"


def former_runs(path: Path | None, target: str) -> tuple[FormerRun, ...]:
    """Return the runs of a file that were of the same target, an address or ""; raises `WrongRequest`."""
    return tuple(run for run in read_history(path) if run.target == target.rstrip("/")) if path else ()


def remember(path: Path | None, run: FormerRun | None) -> None:
    """Keep a run for those that come; what prevents that is said, and changes no verdict."""
    if path is None or run is None:
        return
    try:
        keep(path, run)
    except (OSError, WrongRequest) as error:
        tell(f"this run is not kept for the next one to learn from: {error}")


def read_history(path: Path) -> tuple[FormerRun, ...]:
    """Return the runs of a file, none where there is no such file; lines that are none are said and left out.

    Raises `WrongRequest` for what is no file of runs, or cannot be read.
    """
    try:
        raw = _read(path)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise WrongRequest(f"--history: {path}: {error.strerror}; name another file, or {NONE!r}") from None
    lines = [line for line in raw.splitlines() if line.strip()]
    read = [_run(line) for line in lines]
    if wrong := [(number, found) for number, found in enumerate(read, 1) if isinstance(found, str)]:
        number, reason = wrong[0]
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        tell(f"{path}: line {number}{more} of {len(lines)} left out, no former run: {plain(reason)}")
    return tuple(found for found in read if isinstance(found, FormerRun))


def keep(path: Path, run: FormerRun) -> None:
    """Append a run and forget the oldest beyond 200; gates that write into one file take turns. Raises OSError."""
    # The file itself is replaced, not a link to it.
    path = Path(os.path.realpath(path))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _turn(path.parent):
        before = _read(path).splitlines() if path.exists() else []
        _replace(path, [*before, msgspec.json.encode(run)][-MOST_RUNS:])


def _read(path: Path) -> bytes:
    # A pipe or a device would keep us waiting, or never end.
    if path.exists() and not path.is_file():
        raise WrongRequest(f"--history: {path} is no file; name another one, or {NONE!r}")
    with path.open("rb") as file:
        raw = file.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise WrongRequest(f"--history: {path} has more than {MOST_BYTES} bytes: that is no file of former runs")
    return raw


def _run(line: bytes) -> FormerRun | str:
    try:
        return msgspec.json.decode(line, type=FormerRun)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return str(error) or type(error).__name__


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Wait for our turn; the lock is on the folder, so that nothing is left in it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if not wait_until(lambda: try_lock(handle), _LOCK_SECONDS):
            raise BlockingIOError(0, "another run keeps it locked", str(folder))
        yield
    finally:
        os.close(handle)


def _replace(path: Path, lines: list[bytes]) -> None:
    """Write a file in one step, as readable as it was: a run that is killed leaves the old one or the new one.

    The new one has one name, which only whoever has the turn writes: what a killed run left of it is written over.
    """
    new = path.with_name(f".{path.name}.new")
    try:
        new.unlink(missing_ok=True)
        with new.open("xb") as file:
            if path.exists():
                os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
            file.write(b"".join(line + b"\n" for line in lines))
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
