"""The series that GoShop's services export, so that a misspelt one is found before it silently counts nothing."""

import re
from dataclasses import dataclass
from functools import cache
from typing import Final

from slo.openslo.promql import Matcher
from slo.schema import suggestion
from telemetry import conventions as c

# What Prometheus itself adds when it scrapes, and our scrape configuration (telemetry never says who it is).
TARGET_LABELS: Final = (c.LOG_SERVICE, "environment", "instance", "job")
BUCKET: Final = "_bucket"
COUNT: Final = "_count"
SUM: Final = "_sum"
INFINITE: Final = "+Inf"


@dataclass(frozen=True, slots=True)
class Exported:
    """A metric: its own labels, the edges of its buckets in s (none unless it is a histogram), and whether it counts."""

    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    counts: bool = True


EXPORTED: Final = {
    c.HTTP_REQUEST_DURATION: Exported(c.HTTP_LABELS, c.HTTP_BUCKETS),
    c.HTTP_REQUESTS_IN_PROGRESS: Exported(c.METHOD_LABELS, counts=False),
    c.HTTP_REQUESTS_REFUSED: Exported(c.REFUSED_LABELS),
    c.RPC_SERVER_DURATION: Exported(c.RPC_LABELS, c.INTERNAL_BUCKETS),
    c.RPC_CLIENT_DURATION: Exported(c.RPC_LABELS, c.INTERNAL_BUCKETS),
    c.DB_QUERY_DURATION: Exported(c.DB_QUERY_LABELS, c.INTERNAL_BUCKETS),
    c.DB_QUERY_ERRORS: Exported(c.DB_ERROR_LABELS),
    c.REDIS_COMMAND_DURATION: Exported(c.REDIS_LABELS, c.INTERNAL_BUCKETS),
    c.DB_POOL_CONNECTIONS: Exported(c.POOL_LABELS, counts=False),
    c.DB_POOL_CONNECTIONS_MAX: Exported(counts=False),
    c.DB_POOL_REQUESTS_WAITING: Exported(counts=False),
    c.DB_POOL_WAIT: Exported((), c.INTERNAL_BUCKETS),
    c.EVENT_LOOP_LAG: Exported((), c.INTERNAL_BUCKETS),
    c.SPANS_ENDED: Exported(),
    c.SPANS_EXPORTED: Exported(),
    c.SPANS_DROPPED: Exported(c.DROP_LABELS),
    c.SPANS_QUEUED: Exported(counts=False),
    c.LOG_LINES_LOST: Exported(),
    c.RATE_LIMIT_UNAVAILABLE: Exported(("outcome",)),
}

# What these labels can be; an aborted request has no status. Beside them stands "5xx" and the like, which the statuses
# of too many label sets are folded into (telemetry/metrics.py): alone, it is most likely meant as "5..".
_STATUS: Final = c.HTTP_LABELS[2]
_FOLDED: Final = frozenset(f"{first}xx" for first in range(1, 6))
_VALUES: Final = {_STATUS: ("", *map(str, range(100, 600))), c.RPC_LABELS[2]: c.RPC_STATUS_CODES}
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.|]*")


def series() -> dict[str, Exported]:
    """Return every series by name; a histogram is three."""
    found: dict[str, Exported] = {}
    for name, exported in EXPORTED.items():
        if exported.buckets:
            found[name + BUCKET] = Exported((*exported.labels, c.BOUND_LABEL), exported.buckets)
            found[name + COUNT] = Exported(exported.labels)
            found[name + SUM] = Exported(exported.labels, counts=False)
        else:
            found[name] = exported
    return found


def series_fault(name: str) -> str:
    """Return why events can't be counted in a series of ours, "" where they can."""
    known = series()
    if name not in known:
        return (
            f"GoShop exports no series {name!r}{suggestion(name, sorted(known))} (series of others are read by a"
            " DataSource with the annotation goshop.dev/series: foreign)"
        )
    return (
        "" if known[name].counts else f"{name} counts no events: expected a counter, or a histogram's count or bucket"
    )


def label_fault(name: str, label: str) -> str:
    """Return why a series of ours has no such label, "" where it has."""
    labels = [*series()[name].labels, *TARGET_LABELS]
    return "" if label in labels else f"{name} has no label {label!r}{suggestion(label, labels)}"


def value_fault(matcher: Matcher) -> str:
    """Return why a matcher selects nothing that we ever export, "" where it may; of labels with a known set of values."""
    known = _VALUES.get(matcher.label, ())
    # Alternatives of letters, digits and dots are compared; what else a regular expression can be is left alone.
    if not known or matcher.operator not in {"=", "=~"} or not _PLAIN.fullmatch(matcher.value):
        return ""
    if matcher.operator == "=":
        unknown = [] if matcher.value in known else [matcher.value]
    else:
        parts = dict.fromkeys(matcher.value.split("|"))
        unknown = [part for part in parts if not _is_ever(matcher.label, part)]
    if folded := [part for part in unknown if part in _FOLDED and matcher.label == _STATUS]:
        return f'{folded[0]!r} is only what too many series are folded into: write =~"{folded[0][0]}.." for all of them'
    return f"no {matcher.label} is ever {' or '.join(map(repr, unknown))}" if unknown else ""


def _is_ever(label: str, part: str) -> bool:
    """Tell whether a label has a value of letters and digits, in which a dot stands for any of them."""
    having = _having(label)
    left = having.get((len(part), -1, ""), frozenset())
    for at, character in enumerate(part):
        if character != ".":
            left &= having.get((len(part), at, character), frozenset())
    return bool(left)


@cache
def _having(label: str) -> dict[tuple[int, int, str], frozenset[str]]:
    """Return the known values by their length, a place (-1: any) and the character there: alternatives are many."""
    found: dict[tuple[int, int, str], set[str]] = {}
    for value in _VALUES[label]:
        for at, character in [(-1, ""), *enumerate(value)]:
            found.setdefault((len(value), at, character), set()).add(value)
    return {key: frozenset(values) for key, values in found.items()}


def edge_fault(name: str, bound: str) -> str:
    """Return why `le` selects no bucket of ours, "" where it does. Prometheus keeps edges as floats: "1.0", not "1"."""
    edges = [repr(edge) for edge in series()[name].buckets]
    if bound in {*edges, INFINITE}:
        return ""
    return f"le={bound!r} is no edge of a bucket of {name}: expected {', '.join(edges[:-1])} or {edges[-1]}"
