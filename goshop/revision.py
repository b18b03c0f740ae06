"""An earlier revision of this checkout, unpacked and set up from its own locks, so that its own code can bring its shop up.

Kept below `.goshop/baselines/`: each revision's files once, and each set of locks one virtual environment, which is made
by the revision's own Makefile.
"""

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from goshop.folders import locked
from goshop.measurement import MeasurementFailed, WrongRequest, say
from goshop.processes import how_it_ended, kill, last_lines, spawn

ROOT: Final = Path(__file__).parents[1]
LOCKS: Final = ("requirements-uv.txt", "requirements.txt", "requirements-gate.txt")
# Made anew by `make` in a folder of its own: what a calling make, or a virtual environment that is entered, says does not fit.
_NOT_ITS_OWN: Final = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH")
_GIT_SECONDS: Final = 60.0
# Another gate may be setting the same revision up.
_SET_UP_SECONDS: Final = 900.0


def resolve(revision: str, repository: Path = ROOT) -> str:
    """Return the commit that a revision is; raises `WrongRequest` for none, `MeasurementFailed` where there is no repository."""
    if problem := _git_problem("rev-parse", "--git-dir", repository=repository):
        raise MeasurementFailed(
            f"a revision as the baseline needs git, and {repository} as a checkout of it: {problem}; "
            "or name the address of a baseline that runs"
        )
    done = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}", repository=repository)
    if done.returncode:
        raise WrongRequest(
            f"--baseline {revision}: there is no such revision in {repository}, and an address begins with http:// or "
            "https://; a shallow clone lacks older ones (git fetch --unshallow)"
        )
    return done.stdout.strip()


@dataclass(frozen=True, slots=True)
class Checkout:
    """The files of a commit, and the interpreter that was set up for them."""

    files: Path
    python: Path


def set_up(commit: str, folder: Path, log: Path, repository: Path = ROOT) -> Checkout:
    """Unpack a commit below `folder` and set its virtual environment up; what is there already is kept.

    `log` gets what the set-up says. Raises `MeasurementFailed` with its last words. Main thread only.
    """
    files = folder.absolute() / commit
    with locked(folder / "locks", wait=_SET_UP_SECONDS):
        if not files.is_dir():
            say(f"unpacking the baseline {commit[:12]}")
            _unpack(commit, files, repository)
        venv = files.parent / "venvs" / _locks_digest(files)
        _install(files, venv, log)
    return Checkout(files, venv / "bin" / "python")


def own_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what belongs to our own interpreter and to the make that may have called us."""
    return {name: value for name, value in environ.items() if name not in _NOT_ITS_OWN}


def _unpack(commit: str, checkout: Path, repository: Path) -> None:
    """Write a commit's files to a new folder, whole or not at all."""
    checkout.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=checkout.parent) as name:
        archive, files = Path(name, "archive.tar"), Path(name, "files")
        if problem := _git_problem("archive", f"--output={archive.absolute()}", commit, repository=repository):
            raise MeasurementFailed(f"the baseline {commit[:12]} cannot be unpacked: {problem}")
        files.mkdir()
        with tarfile.open(archive) as packed:
            # Pythons before 3.11.4 have no filter; what is unpacked is our own repository.
            packed.extraction_filter = getattr(tarfile, "data_filter", None)
            packed.extractall(files)  # noqa: S202 - as said
        if not (files / "goshop" / "up.py").is_file() or not (files / "Makefile").is_file():
            raise MeasurementFailed(
                f"the baseline {commit[:12]} cannot be brought up: it has no `goshop up`; name a later revision"
            )
        files.rename(checkout)


def _install(checkout: Path, venv: Path, log: Path) -> None:
    """Let the checkout's own Makefile fill its virtual environment, which checkouts with the same locks share."""
    ready = venv / ".ready"
    if ready.exists():
        return
    venv.parent.mkdir(mode=0o700, exist_ok=True)
    # Make knows no spaces in a name, and a relative one has none.
    own = f"../{venv.parent.name}/{venv.name}"
    say(f"setting up the baseline {checkout.name[:12]}; later it is there")
    command: list[str | Path] = ["make", "-C", checkout, f"PYTHON={sys.executable}", f"VENV={own}", f"{own}/.gate"]
    if problem := _run(command, log):
        raise MeasurementFailed(f"the baseline {checkout.name[:12]} cannot be set up: {problem}")
    ready.touch()


def _run(command: Sequence[str | Path], log: Path) -> str:
    """Run a command that ends with us; returns how it failed, "" if it did not."""
    try:
        process = spawn(command, log=log, env=own_environment(os.environ))
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    try:
        code = process.wait()
    except BaseException:
        kill(process)
        raise
    return f"{command[0]} {how_it_ended(code)}:\n{last_lines(log)}" if code else ""


def _locks_digest(checkout: Path) -> str:
    """Return what tells one set of locks, on one Python, from another."""
    digest = hashlib.sha256(f"{sys.implementation.cache_tag} {sys.base_prefix}".encode())
    for name in LOCKS:
        path = checkout / name
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()[:16]


def _git_problem(*arguments: str, repository: Path) -> str:
    try:
        done = _git(*arguments, repository=repository)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (done.stderr.strip() or how_it_ended(done.returncode)) if done.returncode else ""


def _git(*arguments: str, repository: Path) -> subprocess.CompletedProcess[str]:
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_GIT_SECONDS)
