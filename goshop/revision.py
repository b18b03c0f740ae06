"""An earlier revision of this checkout, unpacked and set up from its own locks, so that its own code can bring its shop up.

Kept below `.goshop/baselines/`, the five that were used last: each revision's files once, and each set of locks one virtual
environment, which is made by the revision's own Makefile.
"""

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app import config
from goshop.folders import locked
from goshop.kept_baselines import LOCKS, VENVS, held, remove_oldest
from goshop.measurement import MeasurementFailed, WrongRequest, say
from goshop.processes import how_it_ended, kill, last_lines, spawn

ROOT: Final = Path(__file__).parents[1]
LOCK_FILES: Final = ("requirements-uv.txt", "requirements.txt", "requirements-gate.txt")
# Made anew by `make` in a folder of its own: what a calling make, or a virtual environment that is entered, says does not fit.
_NOT_ITS_OWN: Final = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH")
_GIT_SECONDS: Final = 60.0
# Of a set-up, and of the wait for another gate's that sets something up, too.
_SET_UP_SECONDS: Final = 900.0


def resolve(revision: str, repository: Path = ROOT, *, within: float = _GIT_SECONDS) -> str:
    """Return the commit that a revision is.

    Raises `WrongRequest` for none, `MeasurementFailed` where there is no repository, or git takes longer than `within` s.
    """
    if problem := _git_problem("rev-parse", "--git-dir", repository=repository, within=within):
        raise MeasurementFailed(
            f"a revision as the baseline needs git, and {repository} as a checkout of it: {problem}; "
            "or name the address of a baseline that runs"
        )
    asked = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    done = _git(*asked, repository=repository, within=within)
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


def set_up(
    commit: str, folder: Path, log: Path, repository: Path = ROOT, *, within: float = _SET_UP_SECONDS
) -> Checkout:
    """Unpack a commit below `folder` and set its virtual environment up; what is there already is kept.

    `log` gets what the set-up says. Raises `MeasurementFailed` with its last words, also when it takes longer than `within` s,
    and `StartError` when another gate is at it for so long. Main thread only.
    """
    try:
        return _set_up(commit, folder, log, repository, within)
    except OSError as error:
        raise MeasurementFailed(f"the baseline {commit[:12]} cannot be set up: {error}") from None


def _set_up(commit: str, folder: Path, log: Path, repository: Path, within: float) -> Checkout:
    files = folder.absolute() / commit
    with locked(folder / LOCKS, wait=within):
        if not files.is_dir():
            say(f"unpacking the baseline {commit[:12]}")
            _unpack(commit, files, repository)
        venv = _venv_of(files)
        _install(files, venv, log, within)
        remove_oldest(files.parent, files, _venv_of)
    return Checkout(files, venv / "bin" / "python")


@contextmanager
def in_use(checkout: Checkout) -> Iterator[Checkout]:
    """Keep a checkout and its interpreter from being removed while entered; raises `MeasurementFailed` when it is gone."""
    with ExitStack() as stack:
        try:
            stack.enter_context(held(checkout.files, checkout.python.parents[1]))
        except OSError as error:
            raise MeasurementFailed(f"the baseline {checkout.files.name[:12]} is gone: {error}") from None
        yield checkout


def _venv_of(checkout: Path) -> Path:
    """Return where the virtual environment of a checkout is, which those with the same locks share."""
    return checkout.parent / VENVS / _locks_digest(checkout)


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
        try:
            with tarfile.open(archive) as packed:
                # Pythons before 3.11.4 have no filter; what is unpacked is our own repository.
                packed.extraction_filter = getattr(tarfile, "data_filter", None)
                packed.extractall(files)  # noqa: S202 - as said
        except tarfile.TarError as error:
            raise MeasurementFailed(f"the baseline {commit[:12]} cannot be unpacked: {error}") from None
        if not (files / "goshop" / "up.py").is_file() or not (files / "Makefile").is_file():
            raise MeasurementFailed(
                f"the baseline {commit[:12]} cannot be brought up: it has no `goshop up`; name a later revision"
            )
        files.rename(checkout)


def _install(checkout: Path, venv: Path, log: Path, within: float) -> None:
    """Let the checkout's own Makefile fill its virtual environment, which checkouts with the same locks share."""
    ready = venv / ".ready"
    if ready.exists():
        return
    venv.parent.mkdir(mode=0o700, exist_ok=True)
    # Make knows no spaces in a name, and neither a relative one has any nor our interpreter's, which it finds by PATH.
    own, python = f"../{venv.parent.name}/{venv.name}", Path(sys.executable)
    environ = _set_up_environment(os.environ, python.parent)
    say(f"setting up the baseline {checkout.name[:12]}; later it is there")
    command: list[str | Path] = ["make", "-C", checkout, f"PYTHON={python.name}", f"VENV={own}", f"{own}/.gate"]
    if problem := _run(command, log, environ, within):
        raise MeasurementFailed(f"the baseline {checkout.name[:12]} cannot be set up: {problem}")
    ready.touch()


def _set_up_environment(environ: Mapping[str, str], interpreters: Path) -> dict[str, str]:
    """Return what a set-up needs to know: nothing of a shop, and no credentials of ours."""
    kept = {name: value for name, value in own_environment(environ).items() if not name.startswith(config.PREFIX)}
    return kept | {"PATH": os.pathsep.join(filter(None, (str(interpreters), kept.get("PATH", os.defpath))))}


def _run(command: Sequence[str | Path], log: Path, environ: Mapping[str, str], within: float) -> str:
    """Run a command that ends with us, and within so many seconds; returns how it failed, "" if it did not."""
    try:
        process = spawn(command, log=log, env=environ)
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    try:
        code = process.wait(within)
    except subprocess.TimeoutExpired:
        kill(process)
        return f"{command[0]} took longer than {within:g} s:\n{last_lines(log)}"
    except BaseException:
        kill(process)
        raise
    return f"{command[0]} {how_it_ended(code)}:\n{last_lines(log)}" if code else ""


def _locks_digest(checkout: Path) -> str:
    """Return what tells one set of locks, on one Python, from another."""
    digest = hashlib.sha256(f"{sys.implementation.cache_tag} {sys.base_prefix}".encode())
    for name in LOCK_FILES:
        path = checkout / name
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()[:16]


def _git_problem(*arguments: str, repository: Path, within: float = _GIT_SECONDS) -> str:
    try:
        done = _git(*arguments, repository=repository, within=within)
    except MeasurementFailed as error:
        return str(error)
    return (done.stderr.strip() or how_it_ended(done.returncode)) if done.returncode else ""


def _git(*arguments: str, repository: Path, within: float) -> subprocess.CompletedProcess[str]:
    """Ask git; raises `MeasurementFailed` when it is not there, or does not answer."""
    command = ["git", "-C", str(repository), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=within)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MeasurementFailed(str(error)) from None
