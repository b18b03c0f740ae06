"""Asks a Loki for the log lines of one request.

The trace id is structured metadata of a line (or a label, where the pipeline was switched to that: the same query finds it).
API: https://grafana.com/docs/loki/latest/reference/loki-http-api/#query-logs-within-a-range-of-time
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal
from urllib.parse import urlencode

import msgspec

from goshop.remote import Names, Remote, shown
from goshop.trace import log_record
from slo.links import LOG_STREAM
from telemetry import conventions as names
from telemetry.spans import is_trace_id

NAMES: Final = Names("Loki", "--loki", "LOKI_URL", "LOKI", ": that are no lines of one request")
# What Loki itself allows at most (limits_config.max_entries_limit_per_query).
MOST_LINES: Final = 5_000
_OK: Final = 200
# Digits.
_WHOLE_ID: Final = 32
_MOST_DIGITS: Final = 19
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Where a line says nothing of its level, Loki guesses one.
_LEVELS: Final = (names.LOG_LEVEL, "detected_level")


@dataclass(frozen=True, slots=True)
class Lines:
    """Log records in order of time, as a service wrote them; `remarks` say what is not whole about them."""

    records: tuple[Mapping[str, Any], ...] = ()
    remarks: tuple[str, ...] = ()


def fetch(loki: Remote, prefix: str, begin: float, end: float) -> Lines:
    """Return the lines of traces whose id begins with `prefix`, written between two unix times; raises `RemoteError`.

    `ValueError` for a prefix that no id can have.
    """
    span = int(begin * 1e9), int(end * 1e9)
    query = {
        "query": _query(prefix),
        "start": str(span[0]),
        "end": str(span[1]),
        "limit": str(MOST_LINES),
        "direction": "forward",
    }
    answer = loki.ask(f"/loki/api/v1/query_range?{urlencode(query)}")
    if answer.status != _OK:
        raise loki.error(f"{loki.url} does not answer the query ({answer.status}): {answer.text}")
    found = loki.decode(answer.body, _Answer, f"{loki.url} is no Loki ({answer.status})")
    entries = [
        _Entry(stream.labels, _time(loki, value.at, *span), value.line)
        for stream in found.data.result
        for value in stream.values
    ]
    remarks = [f"{loki.url}: {shown(warning)}" for warning in found.warnings]
    if len(entries) >= MOST_LINES:
        remarks.append(f"{loki.url} gave the first {MOST_LINES} lines only")
    records = tuple(_records(loki, prefix, entries))
    proper = tuple(record for record in records if is_trace_id(record[names.LOG_TRACE_ID]))
    if strange := len(records) - len(proper):
        lines = (
            "1 line with something else than an id as its"
            if strange == 1
            else f"{strange} lines with something else than an id as their"
        )
        remarks.append(f"{loki.url} has {lines} trace's")
    return Lines(proper, tuple(remarks))


class _Value(msgspec.Struct, array_like=True):
    # In unix ns.
    at: str
    line: str
    # Where it was asked for: what of the labels is whose.
    categories: Any = None


class _Stream(msgspec.Struct, rename={"labels": "stream"}):
    labels: dict[str, str]
    values: list[_Value]


class _Data(msgspec.Struct, rename={"result_type": "resultType"}):
    result_type: Literal["streams"]
    result: list[_Stream] = []


class _Answer(msgspec.Struct):
    status: Literal["success"]
    data: _Data
    warnings: list[str] = []


@dataclass(frozen=True, slots=True)
class _Entry:
    labels: Mapping[str, str]
    at: int
    line: str


def _time(loki: Remote, text: str, begin: int, end: int) -> int:
    # More digits than a time has would be much work to read.
    if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS and begin <= int(text) <= end):
        raise loki.error(f"{loki.url} answers with lines of a time that nobody asked for: {shown(text)}")
    return int(text)


def _query(prefix: str) -> str:
    if not prefix or not is_trace_id(prefix.ljust(_WHOLE_ID, "0")):
        raise ValueError(f"{prefix!r} is no trace id, and no beginning of one")
    whole = len(prefix) == _WHOLE_ID
    matcher = f'="{prefix}"' if whole else f'=~"{prefix}.*"'
    return f"{{{LOG_STREAM}}} | {names.LOG_TRACE_ID}{matcher}"


def _records(loki: Remote, prefix: str, entries: Iterable[_Entry]) -> Iterator[Mapping[str, Any]]:
    """Yield each line once, in order of time: who delivers them sends some again."""
    seen = set()
    for entry in sorted(entries, key=lambda entry: entry.at):
        record = _record(entry)
        if not str(record.get(names.LOG_TRACE_ID, "")).startswith(prefix):
            raise loki.error(f"{loki.url} answers with lines of another trace: {shown(entry.line)}")
        if (key := (entry.at, entry.line)) not in seen:
            seen.add(key)
            yield record


def _record(entry: _Entry) -> Mapping[str, Any]:
    """Return a line as the record that it is; one of another form becomes a record of what Loki knows about it."""
    record = log_record(entry.line)
    if isinstance(record.get(names.LOG_TRACE_ID), str):
        return record
    message, _, rest = entry.line.partition("\n")
    return {
        names.LOG_TIMESTAMP: f"{_EPOCH + timedelta(microseconds=entry.at // 1000):%Y-%m-%dT%H:%M:%S.%f}Z",
        names.LOG_LEVEL: next((entry.labels[label] for label in _LEVELS if label in entry.labels), ""),
        names.LOG_MESSAGE: message,
        **{key: entry.labels.get(key, "") for key in (names.LOG_SERVICE, names.LOG_TRACE_ID, names.LOG_SPAN_ID)},
        **({names.LOG_EXCEPTION: rest} if rest else {}),
    }
