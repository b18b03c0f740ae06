"""The folder of one run: everything it wrote, under `.goshop/runs/<UTC time>-<random>/`, readable by its owner only."""

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

DEFAULT_ROOT: Final = Path(".goshop")
_NAME: Final = re.compile(r"\d{8}T\d{6}-[0-9a-f]{4}")


class RunFolderError(Exception):
    """The folder of runs cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where a run's files are; the properties are a contract with everyone who writes or reads them."""

    path: Path

    @classmethod
    def create(cls, root: Path = DEFAULT_ROOT) -> Self:
        """Make a new folder under `root`/runs; raises `RunFolderError`."""
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
        try:
            _make_root(root)
            run = cls((root / "runs" / name).absolute())
            for folder in (run.path, run.logs, run.spans, run.k6, run.servers, run.state):
                folder.mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise RunFolderError(
                f"{error.filename}: {error.strerror}; free it, or work in a folder of your own"
            ) from None
        return run

    @classmethod
    def latest(cls, root: Path = DEFAULT_ROOT) -> Self:
        """Open the newest run under `root`; raises `RunFolderError` when there is none."""
        for run in cls.newest_first(root):
            return run
        raise RunFolderError(f"{root / 'runs'}: no run yet; `goshop up` and `goshop gate` make one")

    @classmethod
    def newest_first(cls, root: Path = DEFAULT_ROOT) -> Iterator[Self]:
        """Yield every run under `root`, the newest first."""
        try:
            names = sorted(
                (path.name for path in (root / "runs").iterdir() if _NAME.fullmatch(path.name)), reverse=True
            )
        except FileNotFoundError:
            return
        except OSError as error:
            raise RunFolderError(f"{error.filename}: {error.strerror}") from None
        yield from (cls((root / "runs" / name).absolute()) for name in names)

    @property
    def logs(self) -> Path:
        """`<service>.log`: JSON lines, as the service wrote them on stdout."""
        return self.path / "logs"

    @property
    def spans(self) -> Path:
        """`<service>.otlp`: length-prefixed OTLP export requests (telemetry.spans)."""
        return self.path / "spans"

    @property
    def k6(self) -> Path:
        """What the load generator wrote."""
        return self.path / "k6"

    @property
    def servers(self) -> Path:
        """What PostgreSQL and Valkey said."""
        return self.path / "servers"

    @property
    def state(self) -> Path:
        """The servers' data, sockets and the signing keys; gone when the run ends."""
        return self.path / "state"

    def log(self, service: str) -> Path:
        """Return the log of a service."""
        return self.logs / f"{service}.log"

    def span_file(self, service: str) -> Path:
        """Return the spans of a service."""
        return self.spans / f"{service}.otlp"


def _make_root(root: Path) -> None:
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    ignore = root / ".gitignore"
    if not ignore.exists():
        # Whatever repository we are run in, none of this belongs into it.
        ignore.write_text("*\n")
