"""Builds a back-end's command from its Go module beside this file, once, and prints where it is.

    python tests/backends/build.py promtool

Each folder has a go.mod and a go.sum that pin everything; a command is kept under their hash in
$XDG_CACHE_HOME/goshop/backends (~/.cache by default), so that another pin or compiler is another build. It takes minutes.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
# Which package of which module a command is.
PACKAGES: Final = {"promtool": "github.com/prometheus/prometheus/cmd/promtool"}
BOUND: Final = 1800


class NotBuiltError(Exception):
    """A command could not be built; the message says why and what would help."""


def built(name: str) -> Path:
    """Return a command, built if it is not there yet; raises `NotBuiltError`."""
    folder = cache() / _hash(name)
    target = folder / name
    if not target.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            # Whoever came first has made it meanwhile.
            if not target.is_file():
                _build(name, target)
    return target


def cache() -> Path:
    """Return where commands are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "goshop" / "backends"


def _hash(name: str) -> str:
    parts = [_compiler().encode(), *((HERE / name / file).read_bytes() for file in ("go.mod", "go.sum"))]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _compiler() -> str:
    try:
        return _go("env", "GOVERSION", folder=HERE, bound=60).strip()
    except FileNotFoundError:
        raise NotBuiltError("there is no go; https://go.dev/doc/install") from None


def _build(name: str, target: Path) -> None:
    sys.stderr.write(f"building {name}, which takes minutes ...\n")
    part = target.with_suffix(".part")
    _go("build", "-trimpath", "-ldflags=-s -w", "-o", str(part), PACKAGES[name], folder=HERE / name, bound=BOUND)
    part.rename(target)


def _go(*arguments: str, folder: Path, bound: float) -> str:
    # -mod=readonly: what go.sum does not know is not taken.
    environ = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly"}
    try:
        done = subprocess.run(
            ["go", *arguments], cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=bound
        )
    except subprocess.TimeoutExpired:
        raise NotBuiltError(f"go {arguments[0]} took longer than {bound:.0f} s") from None
    if done.returncode:
        raise NotBuiltError(f"go {arguments[0]} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process build at a time; the lock ends with the process."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> None:
    """Build what is named."""
    for name in sys.argv[1:] or PACKAGES:
        try:
            sys.stdout.write(f"{built(name)}\n")
        except NotBuiltError as error:
            sys.exit(f"{name}: {error}")


if __name__ == "__main__":
    main()
