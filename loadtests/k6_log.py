"""What k6 says of a run beside its samples: its log, its summary and its progress."""

import re
from pathlib import Path
from typing import Final

import msgspec

_QUOTED: Final = 200
# The source of what a script logs itself.
_CONSOLE: Final = "console"
# What Go's HTTP client says of an address that is only a path. A redirect can't lead to one: it is resolved.
_UNADDRESSED: Final = 'unsupported protocol scheme ""'
_PROGRESS: Final = re.compile(r" complete and (\d+) interrupted iterations")


class K6Log(msgspec.Struct, frozen=True):
    """What matters of k6's log: messages of exceptions in the script, other errors, and requests without an address.

    What the script itself logs is its own.
    """

    exceptions: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    unaddressed: tuple[str, ...] = ()

    @property
    def cut_short(self) -> str:
        """What k6 said as it ended the load for a threshold of the script with `abortOnFail`."""
        return next((error for error in self.errors if "abortOnFail" in error), "")

    @property
    def write_error(self) -> str:
        """The first complaint about an output that could not be written."""
        return next((error for error in self.errors if "rror writing" in error), "")


def read_log(path: Path) -> K6Log:
    """Read k6's log; lines that are no JSON (it dies before it logs) count as errors."""
    exceptions: list[str] = []
    errors: list[str] = []
    unaddressed: list[str] = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        level, source, message = _log_line(line)
        if level == "error" and source != _CONSOLE:
            (exceptions if source == "stacktrace" else errors).append(message[:_QUOTED])
        elif _UNADDRESSED in message and source != _CONSOLE:
            unaddressed.append(message[:_QUOTED])
    return K6Log(tuple(exceptions), tuple(errors), tuple(unaddressed))


def _log_line(line: bytes) -> tuple[str, str, str]:
    try:
        entry = msgspec.json.decode(line, type=dict[str, object])
    except msgspec.DecodeError:
        return "error", "", line.decode(errors="replace")
    message = f"{entry.get('msg', '')} {entry.get('error', '')}".strip()
    return str(entry.get("level", "")), str(entry.get("source", "")), message


def read_count(path: Path) -> int | None:
    """Return the number of requests that k6's summary counted; None without a readable summary."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Summary).requests
    except (OSError, msgspec.DecodeError):
        return None


def read_interrupted(path: Path) -> int:
    """Return how many iterations k6 cut short, by its last progress line; 0 where it said nothing."""
    said = _PROGRESS.findall(path.read_text(errors="replace")) if path.exists() else []
    return int(said[-1]) if said else 0


class _Values(msgspec.Struct):
    count: int = 0


class _Metric(msgspec.Struct):
    # handleSummary is given the one form, --summary-export writes the other.
    values: _Values = msgspec.field(default_factory=_Values)
    count: int = 0


class _Summary(msgspec.Struct):
    metrics: dict[str, _Metric]

    @property
    def requests(self) -> int:
        requests = self.metrics.get("http_reqs", _Metric())
        return requests.values.count or requests.count
