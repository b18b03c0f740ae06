"""Asks a Prometheus, or what speaks its HTTP API (Thanos, Mimir, VictoriaMetrics), and takes no answer on trust.

An answer that is late, too large, partial or of another form than was asked for is a `PrometheusError` with the reason:
what was not measured must never look like a healthy series. API: https://prometheus.io/docs/prometheus/latest/querying/api/.
"""

import base64
import json
import math
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from itertools import pairwise
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final, Literal, TypeVar
from urllib.parse import urlencode

import msgspec

from goshop.addresses import parts_of
from goshop.measurement import WrongRequest
from loadtests.seed import is_loopback
from slo.openslo.promql import Matcher, QueryError, parse_query
from slo.report.foreign import plain
from slo.series import Series
from telemetry.conventions import BOUND_LABEL

VARIABLE: Final = "GOSHOP_PROMETHEUS"
TOKEN: Final = "GOSHOP_PROMETHEUS_TOKEN"  # noqa: S105 - the name of a variable
USER: Final = "GOSHOP_PROMETHEUS_USER"
PASSWORD: Final = "GOSHOP_PROMETHEUS_PASSWORD"  # noqa: S105 - the name of a variable
# Prometheus itself gives a query up after 2 min (--query.timeout).
SECONDS: Final = 130.0
# An hour of a thousand series, scraped each 15 s, are 6 MB; read, they take ten times as much.
MOST_BYTES: Final = 32 << 20
_CHUNK: Final = 1 << 16
# All questions of one command together: a server that answers each just in time would keep a pipeline for hours.
ALTOGETHER: Final = 600.0
# The year 5138 in unix s: what is later is in ms, or a lie.
LATEST: Final = 1e11
# Samples are stamped in whole ms.
_STAMP: Final = 0.001
# Characters of a foreign message that are shown.
_SHOWN: Final = 300
_REFUSED: Final = frozenset({401, 403})
_REDIRECTS: Final = range(300, 400)

T = TypeVar("T")


class PrometheusError(Exception):
    """No answer that can be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Point:
    """One series of an instant vector."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Prometheus:
    """Where to ask; `authorization` is the header's value and is in no repr.

    `seconds` bound each question as a whole, `deadline` (of the monotonic clock) all of them.
    """

    url: str
    authorization: str = field(default="", repr=False)
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
        status, raw = _within(min(self.seconds, left), lambda: self._send(urlencode(body).encode()), self.url)
        data = _success(_decoded(raw, status, self.url), self.url).data
        if data is None or data.result_type != kind:
            raise PrometheusError(f"{self.url} answered something else than the {kind} that was asked for")
        return _converted(data.result, form, self.url)

    def _send(self, body: bytes) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if self.authorization:
            headers["Authorization"] = self.authorization
        request = urllib.request.Request(f"{self.url}/api/v1/query", body, headers)  # noqa: S310 - http and https alone
        # What stays on this machine must not pass through a proxy that the environment names.
        proxies = (urllib.request.ProxyHandler({}),) if is_loopback(self.url) else ()
        opener = urllib.request.build_opener(_NoRedirect, *proxies)
        try:
            with opener.open(request, timeout=self.seconds) as answer:
                return answer.status, _read(answer, self.most_bytes, self.url)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _read(error, self.most_bytes, self.url)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the credentials to whoever it names: it stays the answer that it is."""

    def redirect_request(self, *_asked: Any) -> None:
        """Follow none."""


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
    if not url:
        raise WrongRequest(f"name the Prometheus with --prometheus URL or {VARIABLE}")
    address = parts_of(url)
    if address is None or address.query or address.fragment:
        raise WrongRequest(f"expected an address such as https://prometheus.example.org for --prometheus, got {url!r}")
    if "@" in address.netloc:
        # Not repeated here: this line is in a log, and the address would be in every report.
        raise WrongRequest(
            f"--prometheus holds credentials, and is shown in every report: set {TOKEN}, or {USER} and {PASSWORD}"
        )
    return Prometheus(url.rstrip("/"), _authorization(environ), deadline=time.monotonic() + ALTOGETHER)


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


def _authorization(environ: Mapping[str, str]) -> str:
    token, user, password = (environ.get(name, "") for name in (TOKEN, USER, PASSWORD))
    if token and (user or password):
        raise WrongRequest(f"{TOKEN} and {USER} are both set: which one is meant?")
    if bool(user) != bool(password):
        raise WrongRequest(f"{USER} and {PASSWORD} belong together: one of them is not set")
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        raise WrongRequest(f"{TOKEN} holds characters that no header can have")
    if user:
        return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
    return f"Bearer {token}" if token else ""


def _within(seconds: float, call: Callable[[], T], url: str) -> T:
    """Return what `call` returns. In a thread: name resolution, and an answer that comes byte by byte, know no time-out."""
    done: SimpleQueue[tuple[T | None, Exception | None]] = SimpleQueue()

    def run() -> None:
        try:
            done.put((call(), None))
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            done.put((None, error))

    Thread(target=run, daemon=True, name="prometheus").start()
    try:
        value, error = done.get(timeout=seconds)
    except Empty:
        raise PrometheusError(f"{url} has not answered within {seconds:g} s") from None
    if error is None:
        return value  # type: ignore[return-value] # without an error there is a value
    # UnicodeError: a name that no resolver can be asked for.
    if isinstance(error, OSError | HTTPException | UnicodeError):
        raise PrometheusError(f"nothing answers at {url}: {_shown(str(getattr(error, 'reason', error)))}") from None
    raise error


def _read(answer: Any, most: int, url: str) -> bytes:
    raw = bytearray()
    while chunk := answer.read(_CHUNK):
        raw += chunk
        if len(raw) > most:
            raise PrometheusError(
                f"{url} answers with more than {most >> 20} MB: ask for less with --match, or a shorter --window"
            )
    return bytes(raw)


def _decoded(raw: bytes, status: int, url: str) -> _Answer:
    if status in _REFUSED:
        raise PrometheusError(f"{url} refuses who asks ({status}): set {TOKEN}, or {USER} and {PASSWORD}")
    if status in _REDIRECTS:
        raise PrometheusError(f"{url} redirects elsewhere ({status}): name the address that answers itself")
    try:
        return msgspec.json.decode(raw, type=_Answer)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise PrometheusError(f"{url}/api/v1/query is no Prometheus ({status}): {_shown(str(error))}") from None


def _success(answer: _Answer, url: str) -> _Answer:
    if answer.status == "error":
        raise PrometheusError(f"{url} refuses the query: {_shown(answer.error) or 'without a reason'}")
    if answer.warnings:
        # Thanos and Mimir warn of stores that did not answer: their series are missing.
        raise PrometheusError(f"{url} has only a part of the answer: {_shown('; '.join(answer.warnings))}")
    if answer.is_partial:
        raise PrometheusError(f"{url} has only a part of the answer: some of its storages are away")
    return answer


def _converted(raw: msgspec.Raw, form: type[T], url: str) -> T:
    try:
        return msgspec.json.decode(raw, type=form)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise PrometheusError(f"{url} gave an answer that cannot be read: {_shown(str(error))}") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise PrometheusError(f"a sample is no number: {_shown(json.dumps(text))}") from None


def _samples(values: list[tuple[float, str]], between: tuple[float, float]) -> tuple[tuple[float, float], ...]:
    samples = tuple((at, _number(value)) for at, value in values)
    times = [at for at, _ in samples]
    # Half of a stamp: what is nearer is the same one, or a lie.
    if any(not right - left > _STAMP / 2 for left, right in pairwise(times)):
        raise PrometheusError("the samples of a series are not in order of time")
    if not all(between[0] <= at <= between[1] for at in times):
        raise PrometheusError("a series has samples of a time that nobody asked for")
    return samples


def _shown(text: str) -> str:
    """Return foreign text as one harmless line of bounded length."""
    line = plain(" ".join(text.split()))
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"
