"""Every sample that k6 wrote to its csv, read while k6 is still writing.

k6 writes about 13 rows a request. The row of `http_req_duration` alone tells all about a request; its time is the request's
end. Columns are found by the header's names, because they follow the tags that a script switches on.
Source: https://grafana.com/docs/k6/latest/results-output/real-time/csv/
"""

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from loadtests.errors import LoadError
from loadtests.plan import WARMUP

_COLUMNS: Final = (
    *("metric_name", "timestamp", "metric_value", "error_code", "expected_response", "method", "name"),
    *("scenario", "status", "extra_tags", "metadata"),
)
_CHUNK: Final = 1 << 20


class Sample(msgspec.Struct, frozen=True):
    """One request as its sender saw it. Times are seconds; `start` is unix time."""

    trace_id: str
    scenario: str
    endpoint: str
    method: str
    # 0 when no answer came; `error_code` is then k6's reason (https://grafana.com/docs/k6/latest/javascript-api/error-codes/).
    status: int
    error_code: int
    # From the first byte sent to the last byte received; waiting for a connection is not in it.
    duration: float
    start: float
    # The journey declared this status.
    expected: bool
    warmup: bool


class Drop(msgspec.Struct, frozen=True):
    """Iterations that k6 did not start because no user of the scenario was free."""

    at: float
    scenario: str
    count: int


class SampleReader:
    """Reads a growing csv. `poll()` takes what was appended since; afterwards the fields tell the whole run so far."""

    def __init__(self, path: Path, base_url: str = "") -> None:
        """Read `path`; a request that has no name but its address is called by its path below `base_url`."""
        self.path = path
        # k6 spells a scheme in small letters, however it was given.
        scheme, _, rest = base_url.rstrip("/").partition(":")
        self.base_url = f"{scheme.lower()}:{rest}" if rest else ""
        # Requests that went to an address that is not below it.
        self.elsewhere: Counter[str] = Counter()
        self.samples: list[Sample] = []
        # When each of them ended, in the same order. It is later than start + duration by the wait for a connection.
        self.ends: list[float] = []
        self.drops: list[Drop] = []
        # (unix time, active users), about once a second.
        self.users: list[tuple[float, int]] = []
        # Finished iterations by phase tag.
        self.iterations: Counter[str] = Counter()
        # What all iterations lasted, in seconds.
        self.iteration_seconds = 0.0
        self.malformed = 0
        self._offset = 0
        self._rest = b""
        self._columns: dict[str, int] = {}
        self._traces: set[str] = set()
        self._rows: Final[dict[bytes, Callable[[list[str]], None]]] = {
            b"http_req_duration": self._request,
            b"iteration_duration": self._iteration_length,
            b"iterations": self._iteration,
            b"dropped_iterations": self._drop,
            b"vus": self._active_users,
        }

    @property
    def torn(self) -> bool:
        """Tell whether the file ends inside a row: its writer was killed or could not write."""
        return bool(self._rest)

    def poll(self) -> None:
        """Read to the present end of the file; a file that is not there yet is an empty one. Raises `LoadError`."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._offset)
            while chunk := file.read(_CHUNK):
                self._offset += len(chunk)
                self._take(chunk)

    def _take(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in self._joined(lines):
            name = line[: line.find(b",")]
            if name in self._rows:
                self._parse(self._rows[name], line)
            elif not self._columns:
                self._header(line)

    def _joined(self, lines: list[bytes]) -> Iterator[bytes]:
        """Join lines that a quoted field with a line feed has split; an unfinished one waits for the next chunk."""
        begun = b""
        for line in lines:
            whole = begun + b"\n" + line if begun else line
            begun = whole if b'"' in whole and whole.count(b'"') % 2 else b""
            if not begun:
                yield whole
        if begun:
            self._rest = begun + b"\n" + self._rest

    def _header(self, line: bytes) -> None:
        names = line.decode().split(",")
        missing = [name for name in _COLUMNS if name not in names]
        if missing:
            raise LoadError(f"{self.path}: the samples lack {', '.join(missing)}; name them in the script's systemTags")
        self._columns = {name: names.index(name) for name in _COLUMNS}

    def _parse(self, handle: Callable[[list[str]], None], line: bytes) -> None:
        text = line.decode(errors="replace")
        row = next(csv.reader([text])) if '"' in text else text.split(",")
        try:
            handle([row[index] for index in self._columns.values()])
        except (ValueError, IndexError):
            # Counted, and a problem of the run: the rows no longer match k6's own count.
            self.malformed += 1

    def _request(self, row: list[str]) -> None:
        _, at, milliseconds, error, expected, method, name, scenario, status, tags, metadata = row
        end, duration, known = int(at) / 1e9, float(milliseconds) / 1e3, _pairs(metadata)
        trace_id = known.get("trace_id", "")
        # A followed redirect is one trace with a row per hop; only the first hop began when the journey says.
        begun = "" if trace_id in self._traces else known.get("start_ms", "")
        self._traces.add(trace_id)
        self.ends.append(end)
        self.samples.append(
            Sample(
                trace_id=trace_id,
                scenario=scenario,
                endpoint=self._endpoint(name),
                method=method,
                status=int(status or 0),
                error_code=int(error or 0),
                duration=duration,
                start=int(begun) / 1e3 if begun else end - duration,
                expected=expected == "true",
                warmup=_pairs(tags).get("phase") == WARMUP,
            )
        )

    def _endpoint(self, name: str) -> str:
        if not self.base_url or "://" not in name:
            return name
        inside = name == self.base_url or name.startswith((f"{self.base_url}/", f"{self.base_url}?"))
        address = urlsplit(name)
        if not inside:
            self.elsewhere[f"{address.scheme}://{address.netloc}"] += 1
            return f"{address.scheme}://{address.netloc}{address.path}"
        return address.path or "/"

    def _iteration(self, row: list[str]) -> None:
        self.iterations[_pairs(row[9]).get("phase", "")] += int(float(row[2]))

    def _iteration_length(self, row: list[str]) -> None:
        self.iteration_seconds += float(row[2]) / 1e3

    def _drop(self, row: list[str]) -> None:
        self.drops.append(Drop(int(row[1]) / 1e9, row[7], int(float(row[2]))))

    def _active_users(self, row: list[str]) -> None:
        self.users.append((int(row[1]) / 1e9, int(float(row[2]))))


def _pairs(text: str) -> dict[str, str]:
    """Read k6's `key=value&key=value`."""
    return dict(pair.partition("=")[::2] for pair in text.split("&")) if text else {}
