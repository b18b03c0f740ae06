"""Asks a Prometheus, or what speaks its HTTP API (Thanos, Mimir, VictoriaMetrics), and takes no answer on trust.

An answer that is late, too large, partial or of another form than was asked for is a `PrometheusError` with the reason:
what was not measured must never look like a healthy series. API: https://prometheus.io/docs/prometheus/latest/querying/api/.
"""

import json
import math
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Literal, TypeVar
from urllib.parse import urlencode

import msgspec

from goshop.measurement import WrongRequest
from goshop.remote import Names, Remote, RemoteError, shown
from goshop.remote import connect as connect_remote
from slo.openslo.promql import Matcher, QueryError, parse_query
from slo.series import Series
from telemetry.conventions import BOUND_LABEL

VARIABLE: Final = "GOSHOP_PROMETHEUS"
NAMES: Final = Names(
    "Prometheus", "--prometheus", VARIABLE, VARIABLE, ": ask for less with --match, or a shorter --window"
)
# Prometheus itself gives a query up after 2 min (--query.timeout).
SECONDS: Final = 130.0
# An hour of a thousand series, scraped each 15 s, are 6 MB; read, they take ten times as much.
MOST_BYTES: Final = 32 << 20
# All questions of one command together: a server that answers each just in time would keep a pipeline for hours.
ALTOGETHER: Final = 600.0
# The year 5138 in unix s: what is later is in ms, or a lie.
LATEST: Final = 1e11
# Samples are stamped in whole ms.
_STAMP: Final = 0.001
_FORM: Final = "application/x-www-form-urlencoded"

T = TypeVar("T")


class PrometheusError(RemoteError):
    """No answer that can be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Point:
    """One series of an instant vector."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Prometheus:
    """Where to ask; `headers` carry the credentials and are in no repr.

    `seconds` bound each question as a whole, `deadline` (of the monotonic clock) all of them.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    seconds: float = SECONDS
    most_bytes: int = MOST_BYTES
    deadline: float = math.inf

    def now(self) -> float:
        """Return the server's own time in unix s: what it has is stamped by its clock, not by ours."""
        _, value = self._ask("time()", None, "scalar", tuple[float, str])
        if not 0 < (now := _number(value)) < LATEST:
            raise PrometheusError(f"{self.url} has a clock that says {now:g}")
        return now

    def vector(self, query: str, at: float) -> tuple[Point, ...]:
        """Return an instant vector at unix s `at`."""
        found = self._ask(query, at, "vector", list[_Vector])
        return tuple(Point(each.metric, _number(each.value[1])) for each in found if each.value is not None)

    def matrix(self, selector: str, seconds: int, at: float) -> tuple[Series, ...]:
        """Return the raw samples of the `seconds` before unix s `at`."""
        found = self._ask(f"{selector}[{seconds}s]", at, "matrix", list[_Matrix])
        between = (at - seconds - _STAMP, at + _STAMP)
        return tuple(Series(each.metric, _samples(each.values, between)) for each in found if each.values)

    def _ask(self, query: str, at: float | None, kind: str, form: type[T]) -> T:
        # Thanos and VictoriaMetrics leave out what is away unless they are told not to; others know nothing of it.
        body = {"query": query, "partial_response": "false", "deny_partial_response": "1"}
        body |= {} if at is None else {"time": f"{at:.3f}"}
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise PrometheusError(f"{self.url} has not answered all that was asked within {ALTOGETHER:.0f} s")
        remote = Remote(self.url, NAMES, self.headers, min(self.seconds, left), self.most_bytes, PrometheusError)
        answer = remote.ask("/api/v1/query", urlencode(body).encode(), content_type=_FORM)
        is_none = f"{self.url}/api/v1/query is no Prometheus ({answer.status})"
        data = _success(remote.decode(answer.body, _Answer, is_none), self.url).data
        if data is None or data.result_type != kind:
            raise PrometheusError(f"{self.url} answered something else than the {kind} that was asked for")
        return remote.decode(data.result, form, f"{self.url} gave an answer that cannot be read")


class _Vector(msgspec.Struct):
    metric: dict[str, str]
    value: tuple[float, str] | None = None


class _Matrix(msgspec.Struct):
    metric: dict[str, str]
    values: list[tuple[float, str]] = []


class _Data(msgspec.Struct, rename="camel"):
    result_type: str
    result: msgspec.Raw


class _Answer(msgspec.Struct, rename="camel"):
    status: Literal["success", "error"]
    data: _Data | None = None
    error: str = ""
    warnings: tuple[str, ...] = ()
    # VictoriaMetrics': some of its storages did not answer.
    is_partial: bool = False


def connect(url: str, environ: Mapping[str, str] = os.environ) -> Prometheus:
    """Return where to ask, with the credentials of the environment; raises `WrongRequest` for what cannot be meant."""
    remote = connect_remote(url, NAMES, environ)
    return Prometheus(remote.url, remote.headers, deadline=time.monotonic() + ALTOGETHER)


def matchers_of(texts: Iterable[str]) -> tuple[Matcher, ...]:
    """Return what narrows series further, as PromQL spells it between braces; raises `WrongRequest`."""
    found: list[Matcher] = []
    for text in texts:
        try:
            found += parse_query(f"series{{{text}}}").matchers
        except QueryError as error:
            raise WrongRequest(f'--match {text!r}: expected one such as release="canary": {error}') from None
    if any(matcher.label == BOUND_LABEL for matcher in found):
        raise WrongRequest(f"--match: {BOUND_LABEL} is the edge of a bucket, which the objective says")
    return tuple(found)


def _success(answer: _Answer, url: str) -> _Answer:
    if answer.status == "error":
        raise PrometheusError(f"{url} refuses the query: {shown(answer.error) or 'without a reason'}")
    if answer.warnings:
        # Thanos and Mimir warn of stores that did not answer: their series are missing.
        raise PrometheusError(f"{url} has only a part of the answer: {shown('; '.join(answer.warnings))}")
    if answer.is_partial:
        raise PrometheusError(f"{url} has only a part of the answer: some of its storages are away")
    return answer


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise PrometheusError(f"a sample is no number: {shown(json.dumps(text))}") from None


def _samples(values: list[tuple[float, str]], between: tuple[float, float]) -> tuple[tuple[float, float], ...]:
    samples = tuple((at, _number(value)) for at, value in values)
    times = [at for at, _ in samples]
    # Half of a stamp: what is nearer is the same one, or a lie.
    if any(not right - left > _STAMP / 2 for left, right in pairwise(times)):
        raise PrometheusError("the samples of a series are not in order of time")
    if not all(between[0] <= at <= between[1] for at in times):
        raise PrometheusError("a series has samples of a time that nobody asked for")
    return samples
