"""A folder of log files that a Promtail reads, and what a Loki has of them."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.stack.loki import EVERYTHING, Line, Loki
from tests.stack.prometheus import eventually

ARRIVE_SECONDS: Final = 20.0


@dataclass(frozen=True)
class LogFiles:
    """`<name>.log` files in a folder; each test takes names of its own."""

    folder: Path
    loki: Loki

    def write(self, name: str, *lines: str | bytes) -> None:
        """Append lines to a file."""
        data = [line if isinstance(line, bytes) else line.encode() for line in lines]
        with self.path(name).open("ab") as file:
            file.write(b"".join(line + b"\n" for line in data))

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def stored(self, name: str) -> list[Line]:
        """Return what Loki has of a file, in order of time."""
        return self.loki.lines(selector(name))

    def wait(self, name: str, texts: Sequence[str], within: float = ARRIVE_SECONDS) -> list[Line]:
        """Return what Loki has of a file as soon as all these texts are there."""

        def ask() -> list[Line]:
            lines = self.stored(name)
            return lines if set(texts) <= {line.text for line in lines} else []

        return list(eventually(ask, within, f"{len(texts)} lines of {name}.log are in Loki")) if texts else []


def selector(name: str) -> str:
    """Return the stream selector of a file's lines."""
    return f'{EVERYTHING.removesuffix("}")},service="{name}"}}'


def now() -> str:
    """Return the present as our log lines say it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def json_line(message: str, trace_id: str | None = None, level: str = "info", at: str | None = None) -> str:
    """Return a line as a service writes it; `message` is JSON already."""
    ids = f',"trace_id":"{trace_id}","span_id":"{secrets.token_hex(8)}","trace_flags":"01"' if trace_id else ""
    return (
        f'{{"timestamp":"{at or now()}","level":"{level}","logger":"test","message":"{message}","service":"test"{ids}}}'
    )
