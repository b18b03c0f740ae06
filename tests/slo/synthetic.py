"""Synthetic runs: requests with the spans that the shop leaves, made to order and the same every time."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from slo.gate import RunFacts
from slo.gates import Gate
from slo.load import LoadFacts
from telemetry.spans import SpanRecord

CHECKOUT = Path(__file__).parents[2] / "slo" / "specs" / "checkout.yaml"
BEGIN = 1_800_000_000.0

# Endpoint, share of the traffic, the peer it calls, that peer's statement and table.
TRAFFIC = (
    ("GET", "/api/products", 50, "product.v1.ProductService/SearchProducts", "SELECT products", "products"),
    ("GET", "/api/products/{id}", 20, "product.v1.ProductService/GetProduct", "SELECT products by id", "products"),
    ("POST", "/api/orders", 15, "order.v1.OrderService/PlaceOrder", "INSERT orders", "orders"),
    ("GET", "/api/orders/{id}", 13, "order.v1.OrderService/GetOrder", "SELECT orders", "orders"),
    ("POST", "/api/login", 2, "user.v1.UserService/Login", "SELECT users", "users"),
)


@dataclass(frozen=True)
class MadeSample:
    """Has the shape of `slo.sample.Sample`."""

    trace_id: str
    endpoint: str = "/api/products"
    method: str = "GET"
    status: int = 200
    error_code: int = 0
    duration: float = 0.02
    start: float = BEGIN
    expected: bool = True
    warmup: bool = False
    scenario: str = "smoke"


def ns(seconds: float) -> int:
    return round(seconds * 1e9)


class SpanMaker:
    """Makes the spans of one trace."""

    def __init__(self, trace_id: str) -> None:
        self.trace_id = trace_id
        self.spans: list[SpanRecord] = []

    def add(  # noqa: PLR0917 - a span has that many, and tests read better without their names
        self, parent, service, name, kind, start, end, *, error="", **attributes: str
    ) -> SpanRecord:
        span = SpanRecord(
            trace_id=self.trace_id,
            span_id=f"{len(self.spans) + 1:016x}",
            parent_id=parent.span_id if parent else "00f067aa0ba902b7",
            service=service,
            name=name,
            kind=kind,
            start_ns=ns(start),
            end_ns=ns(end),
            status="ERROR" if error else "UNSET",
            status_message=error,
            attributes={key.replace("__", "."): value for key, value in attributes.items()},
        )
        self.spans.append(span)
        return span

    def entry(self, sample, *, error="") -> SpanRecord:
        end = sample.start + sample.duration - 0.001
        return self.add(
            None, "gateway", f"{sample.method} {sample.endpoint}", "SERVER", sample.start + 0.001, end, error=error,
            http__request__method=sample.method, http__route=sample.endpoint, url__path=sample.endpoint,
        )  # fmt: skip

    def call(self, parent, method, start, end, *, error="", handled=True):
        """Return the call's span and the handler's, which is None when the peer was away."""
        code = {"rpc__response__status_code": error or "OK"}
        call = self.add(parent, parent.service, method, "CLIENT", start, end, error=error, rpc__method=method, **code)
        if not handled:
            return call, None
        service = method.partition(".")[0]
        return call, self.add(
            call, service, method, "SERVER", start + 0.0005, end - 0.0005, error=error, rpc__method=method, **code
        )

    def statement(self, parent, summary, table, start, end, *, error="") -> SpanRecord:
        return self.add(
            parent, parent.service, summary, "CLIENT", start, end, error=error,
            db__query__summary=summary, db__collection__name=table, db__system__name="postgresql",
        )  # fmt: skip


@dataclass
class SyntheticRun:
    """A run of the smoke profile; change `samples` and `spans` before `facts()`."""

    gate: Gate
    samples: list[MadeSample] = field(default_factory=list)
    spans: dict[str, list[SpanRecord]] = field(default_factory=dict)

    def spoil(self, share: float, endpoint: str, spoiling: Callable, seed: int = 1) -> int:
        """Replace a share of an endpoint's requests by what `spoiling(sample)` -> (sample, spans) makes of them."""
        dice = random.Random(seed)  # noqa: S311 - the same requests every time
        spoilt = 0
        for index, sample in enumerate(self.samples):
            if sample.endpoint == endpoint and dice.random() < share:
                self.samples[index], self.spans[sample.trace_id] = spoiling(sample)
                spoilt += 1
        return spoilt

    def facts(self, **changes: object) -> RunFacts:
        """Return the facts of this run, undisturbed unless `changes` say otherwise."""
        ids = Counter(sample.trace_id for sample in self.samples)
        load = LoadFacts(model="open", begin=BEGIN + 5, seconds=30.0, planned=4500.0)
        found = RunFacts(
            gate=self.gate,
            samples=self.samples,
            load=load,
            url="http://127.0.0.1:8080",
            profile="smoke",
            started=BEGIN,
            ended=BEGIN + 36,
            spans=self.spans,
            access_lines=ids,
            server_requests=ids.total(),
            resendable=frozenset({"POST /api/orders"}),
        )
        return replace(found, **changes)


def delayed(sample: MadeSample, seconds: float = 0.9):
    """Make a request whose statement takes longer."""
    return healthy(replace(sample, duration=sample.duration + seconds), slow=seconds)


def healthy(sample: MadeSample, slow: float = 0.0):
    """Make the spans of a request that went well."""
    _, _, _, method, summary, table = next(row for row in TRAFFIC if row[1] == sample.endpoint)
    maker = SpanMaker(sample.trace_id)
    root = maker.entry(sample)
    begin, end = sample.start + 0.002, sample.start + sample.duration - 0.002
    maker.add(root, "gateway", "EVALSHA", "CLIENT", begin, begin + 0.0005, db__system__name="redis")
    _, handler = maker.call(root, method, begin + 0.001, end)
    query = begin + 0.002
    maker.statement(handler, summary, table, query, query + 0.002 + slow)
    return sample, maker.spans


def failing_charge(sample: MadeSample):
    """Make an order whose charge fails at the payment service."""
    sample = replace(sample, status=503, expected=False)
    maker = SpanMaker(sample.trace_id)
    root = maker.entry(sample, error="Unavailable")
    begin, end = sample.start + 0.002, sample.start + sample.duration - 0.002
    _, handler = maker.call(root, "order.v1.OrderService/PlaceOrder", begin, end, error="UNAVAILABLE")
    maker.statement(handler, "INSERT orders", "orders", begin + 0.001, begin + 0.002)
    maker.call(handler, "product.v1.ProductService/ReserveStock", begin + 0.002, begin + 0.004)
    maker.call(handler, "payment.v1.PaymentService/Charge", begin + 0.004, begin + 0.006, error="UNAVAILABLE")
    maker.call(handler, "product.v1.ProductService/ReleaseStock", begin + 0.006, begin + 0.008)
    return sample, maker.spans


def make_run(gate: Gate, seconds: float = 30.0, rate: int = 150) -> SyntheticRun:
    """Make an undisturbed run with a warm-up of 5 s."""
    dice = random.Random(7)  # noqa: S311 - the same requests every time
    run = SyntheticRun(gate)
    weights = [row[2] for row in TRAFFIC]
    for index in range(round((seconds + 5) * rate)):
        method, endpoint = dice.choices(TRAFFIC, weights)[0][:2]
        start = BEGIN + index / rate
        sample = MadeSample(
            trace_id=f"{index + 1:032x}",
            endpoint=endpoint,
            method=method,
            duration=0.012 + dice.expovariate(1 / 0.006),
            start=start,
            warmup=start < BEGIN + 5,
        )
        run.samples.append(sample)
        run.spans[sample.trace_id] = healthy(sample)[1]
    return run
