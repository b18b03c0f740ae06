"""Builds a back-end's commands from their Go module beside this file, once, and prints where they are.

    python tests/backends/build.py prometheus promtool

Each folder has a go.mod and a go.sum that pin everything; its commands are kept under their hash in
$XDG_CACHE_HOME/goshop/backends (~/.cache by default), so that another pin or compiler is another build. It takes minutes.
"""

import fcntl
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
BOUND: Final = 1800
FAILED, NOT_FETCHED, NONE_FETCHED = 1, 3, 4
# What Go says of a module that it could not get; one that is not what go.sum says is another matter.
_UNREACHABLE: Final = re.compile(r'Get "https?://|reading https?://|module lookup disabled by GOPROXY=off')


class NotBuiltError(Exception):
    """A command could not be built; the message says why and what would help."""


class NotFetchedError(NotBuiltError):
    """The modules could not be fetched: this machine has no way to them."""


@dataclass(frozen=True)
class Command:
    """Which package a command is, whose go.mod beside this file pins it, and what the linker writes into it."""

    module: str
    package: str
    version: str
    link: str = ""

    @property
    def flags(self) -> str:
        """The linker's flags: without symbols, which are half the size."""
        return f"-s -w {self.link.format(version=self.version)}".strip()


def _of_prometheus(name: str) -> Command:
    # As a module it is v0.313.2; what it says of itself is written at build time, or empty.
    said = "-X github.com/prometheus/common/version.Version={version}"
    return Command("prometheus", f"github.com/prometheus/prometheus/cmd/{name}", "3.13.2", said)


def _of_loki(name: str, package: str, version: str) -> Command:
    said = "-X github.com/grafana/loki/v3/pkg/util/build.Version={version}"
    return Command(name, f"github.com/grafana/loki/v3/{package}", version, said)


def _of_alertmanager(name: str) -> Command:
    said = "-X github.com/prometheus/common/version.Version={version}"
    return Command("alertmanager", f"github.com/prometheus/alertmanager/cmd/{name}", "0.31.1", said)


COMMANDS: Final = {
    "prometheus": _of_prometheus("prometheus"),
    "promtool": _of_prometheus("promtool"),
    # The last one whose module has the files of its user interface, without which it does not build.
    "alertmanager": _of_alertmanager("alertmanager"),
    "amtool": _of_alertmanager("amtool"),
    "loki": _of_loki("loki", "cmd/loki", "3.7.6"),
    "promtail": _of_loki("promtail", "clients/cmd/promtail", "3.6.15"),
    # Its libraries reach into Go's own packages by name, which Go has refused since 1.23.
    "jaeger": Command(
        "jaeger",
        "github.com/jaegertracing/jaeger/cmd/all-in-one",
        "1.57.0",
        "-checklinkname=0 -X github.com/jaegertracing/jaeger/pkg/version.latestVersion={version}",
    ),
    # Runs alone, too, and is called so where Docker's command looks for its plugins.
    "docker-compose": Command(
        "compose",
        "github.com/docker/compose/v2/cmd",
        "2.40.3",
        "-X github.com/docker/compose/v2/internal.Version={version}",
    ),
}


def built(name: str) -> Path:
    """Return a command, built if it is not there yet; raises `NotBuiltError`."""
    folder = cache() / _hash(COMMANDS[name].module)
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


def _hash(module: str) -> str:
    flags = sorted(command.flags for command in COMMANDS.values() if command.module == module)
    parts = [_compiler(), *flags, *((HERE / module / file).read_text() for file in ("go.mod", "go.sum"))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _compiler() -> str:
    try:
        return _go("env", "GOVERSION", folder=HERE, bound=60).strip()
    except FileNotFoundError:
        raise NotBuiltError(
            "there is no Go compiler: `make test-stack` brings one, or https://go.dev/doc/install"
        ) from None


def _build(name: str, target: Path) -> None:
    sys.stderr.write(f"building {name}, which takes minutes ...\n")
    command, part = COMMANDS[name], target.with_suffix(".part")
    arguments = ("build", "-trimpath", f"-ldflags={command.flags}", "-o", str(part), command.package)
    _go(*arguments, folder=HERE / command.module, bound=BOUND)
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
        kind = NotFetchedError if _UNREACHABLE.search(done.stderr) else NotBuiltError
        raise kind(f"go {arguments[0]} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process build at a time; the lock ends with the process."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> None:
    """Build what is named, or everything, each whatever became of the others.

    Exits with 1 when one does not build, with 3 when modules of some could not be fetched, with 4 when those of none could.
    """
    names = sys.argv[1:] or [*COMMANDS]
    if unknown := [name for name in names if name not in COMMANDS]:
        sys.exit(f"{', '.join(unknown)}: no such command; there are {', '.join(COMMANDS)}")
    errors = [error for name in names if (error := _tried(name))]
    if not all(isinstance(error, NotFetchedError) for error in errors):
        sys.exit(FAILED)
    if errors:
        sys.exit(NONE_FETCHED if len(errors) == len(names) else NOT_FETCHED)


def _tried(name: str) -> NotBuiltError | None:
    """Print where a command is, or say why it is not."""
    try:
        sys.stdout.write(f"{built(name)}\n")
    except NotBuiltError as error:
        sys.stderr.write(f"{name}: {error}\n")
        return error
    return None


if __name__ == "__main__":
    main()
