"""The place that made requests bad is named first, whatever the disturbance; nothing is named when all is well."""

from dataclasses import replace
from time import perf_counter

import pytest

from slo.gate import evaluate
from telemetry.conventions import POOL_WAIT_SPAN
from tests.slo.synthetic import SpanMaker, delayed, failing_charge, make_run

SEARCH, ORDER = "/api/products", "/api/orders"
SEARCH_RPC = "product.v1.ProductService/SearchProducts"


def causes_of(run, **changes: object):
    return evaluate(run.facts(**changes)).verdict.causes


def first_of(run, **changes: object):
    cause = causes_of(run, **changes)[0]
    assert cause.share >= 0.5
    return cause


def test_an_undisturbed_run_names_no_cause(run):
    assert causes_of(run) == ()


def test_a_slow_statement_is_named_with_its_table_its_endpoint_and_a_trace(run):
    struck = run.spoil(0.05, SEARCH, delayed)
    cause = first_of(run)
    assert (cause.objective, cause.endpoint) == ("p99-latency", "GET /api/products")
    assert (cause.service, cause.span, cause.table) == ("product", "SELECT products", "products")
    assert cause.share > 0.99
    assert struck > 100
    (statement,) = (span for span in run.spans[cause.trace_ids[0]] if span.name == "SELECT products")
    assert statement.end_ns - statement.start_ns >= 900_000_000


def test_a_slow_statement_that_strikes_every_request_is_named_without_a_good_one(run):
    run.spoil(1.0, SEARCH, delayed)
    assert first_of(run).span == "SELECT products"


def test_a_failing_dependency_deep_below_is_named(run):
    run.spoil(0.3, ORDER, failing_charge)
    cause = first_of(run)
    assert (cause.objective, cause.endpoint) == ("error-rate", "POST /api/orders")
    assert (cause.service, cause.span, cause.share) == ("payment", "payment.v1.PaymentService/Charge", 1.0)


def test_a_missed_objective_comes_before_an_undecided_one(run):
    run.spoil(0.02, SEARCH, delayed)
    run.spoil(0.3, ORDER, failing_charge)
    assert [cause.objective for cause in causes_of(run)] == ["error-rate", "p99-latency"]


def dead_peer(sample):
    """The peer is away: the call fails and nobody handles it."""
    sample = replace(sample, status=503, expected=False)
    maker = SpanMaker(sample.trace_id)
    root = maker.entry(sample, error="Unavailable")
    maker.call(root, SEARCH_RPC, sample.start + 0.002, sample.start + 0.003, error="UNAVAILABLE", handled=False)
    return sample, maker.spans


def test_a_dead_service_is_named_by_the_calls_that_never_got_to_it(run):
    run.spoil(0.5, SEARCH, dead_peer)
    cause = first_of(run)
    assert (cause.service, cause.span) == ("product", SEARCH_RPC)


def hanging_peer(sample):
    """The peer hangs: the caller gives up after four seconds, long after any good answer."""
    sample = replace(sample, status=504, expected=False, duration=4.01)
    maker = SpanMaker(sample.trace_id)
    root = maker.entry(sample, error="DeadlineExceeded")
    begin = sample.start + 0.002
    maker.call(root, SEARCH_RPC, begin, begin + 4.0, error="DEADLINE_EXCEEDED", handled=False)
    return sample, maker.spans


def test_a_hanging_service_is_named_for_latency_and_for_errors(run):
    run.spoil(0.1, SEARCH, hanging_peer)
    named = {(cause.objective, cause.service, cause.span) for cause in causes_of(run)}
    assert named == {("p99-latency", "product", SEARCH_RPC), ("error-rate", "product", SEARCH_RPC)}


def given_up(sample):
    """A statement outlasts the deadline; the peer is told to stop and fails nothing of its own."""
    sample = replace(sample, status=504, expected=False, duration=4.01)
    maker = SpanMaker(sample.trace_id)
    root = maker.entry(sample, error="DeadlineExceeded")
    begin = sample.start + 0.002
    call = maker.add(
        root, "gateway", SEARCH_RPC, "CLIENT", begin, begin + 4, error="DEADLINE_EXCEEDED",
        rpc__method=SEARCH_RPC, rpc__response__status_code="DEADLINE_EXCEEDED",
    )  # fmt: skip
    handler = maker.add(call, "product", SEARCH_RPC, "SERVER", begin + 0.001, begin + 4, rpc__method=SEARCH_RPC)
    maker.statement(handler, "SELECT products", "products", begin + 0.002, begin + 3.999)
    return sample, maker.spans


def test_a_deadline_is_followed_to_what_took_the_time(run):
    run.spoil(0.1, SEARCH, given_up)
    named = {(cause.objective, cause.span, cause.table) for cause in causes_of(run) if cause.share > 0.5}
    assert named == {("p99-latency", "SELECT products", "products"), ("error-rate", "SELECT products", "products")}


def failing_redis(sample):
    sample = replace(sample, status=503, expected=False)
    maker = SpanMaker(sample.trace_id)
    root = maker.entry(sample, error="Unavailable")
    maker.add(root, "gateway", "EVALSHA", "CLIENT", sample.start + 0.002, sample.start + 0.004, error="ConnectionError")
    return sample, maker.spans


def test_a_redis_that_is_away_is_a_place(run):
    for endpoint in {sample.endpoint for sample in run.samples}:
        run.spoil(0.3, endpoint, failing_redis)
    cause = first_of(run)
    assert (cause.service, cause.span, cause.share) == ("gateway", "EVALSHA", 1.0)


def failing_insert_with_missed_cache(sample):
    """The cache is away, which does no harm; then the statement fails, which does."""
    sample = replace(sample, status=503, expected=False)
    maker = SpanMaker(sample.trace_id)
    root = maker.entry(sample, error="Unavailable")
    _, handler = maker.call(root, SEARCH_RPC, sample.start + 0.002, sample.start + 0.01, error="UNAVAILABLE")
    maker.add(handler, "product", "GET", "CLIENT", sample.start + 0.003, sample.start + 0.004, error="ConnectionError")
    maker.statement(handler, "SELECT products", "products", sample.start + 0.005, sample.start + 0.006, error="57014")
    return sample, maker.spans


def missed_cache(sample):
    maker = SpanMaker(sample.trace_id)
    root = maker.entry(sample)
    _, handler = maker.call(root, SEARCH_RPC, sample.start + 0.002, sample.start + 0.01)
    maker.add(handler, "product", "GET", "CLIENT", sample.start + 0.003, sample.start + 0.004, error="ConnectionError")
    maker.statement(handler, "SELECT products", "products", sample.start + 0.005, sample.start + 0.006)
    return sample, maker.spans


def test_a_failure_that_good_requests_survive_is_not_the_cause(run):
    run.spoil(1.0, SEARCH, missed_cache)
    run.spoil(0.2, SEARCH, failing_insert_with_missed_cache)
    cause = first_of(run)
    assert (cause.span, cause.share) == ("SELECT products", 1.0)


def waiting(sample, seconds=1.5):
    """The request waits for a connection."""
    sample = replace(sample, duration=sample.duration + seconds)
    maker = SpanMaker(sample.trace_id)
    root = maker.entry(sample)
    begin, end = sample.start + 0.002, sample.start + sample.duration - 0.002
    _, handler = maker.call(root, SEARCH_RPC, begin, end)
    maker.add(handler, "product", POOL_WAIT_SPAN, "INTERNAL", begin + 0.001, begin + 0.001 + seconds)
    maker.statement(handler, "SELECT products", "products", begin + 0.001 + seconds, end - 0.001)
    return sample, maker.spans


def test_an_exhausted_pool_is_a_place_of_its_own(run):
    run.spoil(0.2, SEARCH, waiting)
    cause = first_of(run)
    assert (cause.service, cause.span, cause.table) == ("product", POOL_WAIT_SPAN, "")


def locked(sample, seconds=3.0):
    """A statement waits for a row lock and keeps its connection meanwhile."""
    sample = replace(sample, duration=sample.duration + seconds)
    maker = SpanMaker(sample.trace_id)
    root = maker.entry(sample)
    begin, end = sample.start + 0.002, sample.start + sample.duration - 0.002
    method = "order.v1.OrderService/PlaceOrder"
    _, order = maker.call(root, method, begin, end)
    _, handler = maker.call(order, "product.v1.ProductService/ReserveStock", begin + 0.001, end - 0.002)
    maker.statement(handler, "UPDATE products", "products", begin + 0.002, begin + seconds)
    return sample, maker.spans


def test_a_row_lock_that_starves_the_pool_is_named_and_not_the_pool(run):
    run.spoil(1.0, ORDER, locked)
    run.spoil(0.5, SEARCH, waiting)
    cause = first_of(run)
    assert (cause.service, cause.span, cause.table) == ("product", "UPDATE products", "products")


def test_the_traces_of_a_cause_show_it_even_where_others_suffered_longer_from_it(run):
    run.spoil(1.0, ORDER, locked)
    run.spoil(0.5, SEARCH, lambda sample: waiting(sample, seconds=5.0))
    for trace_id in first_of(run).trace_ids:
        assert [span.name for span in run.spans[trace_id] if span.end_ns - span.start_ns > 2_900_000_000][
            -1
        ] == "UPDATE products"


def test_the_endpoint_of_a_cause_has_it_itself_even_where_another_suffered_longer_from_it(run):
    run.spoil(0.3, ORDER, locked)
    run.spoil(1.0, SEARCH, lambda sample: waiting(sample, seconds=5.0))
    cause = first_of(run)
    assert (cause.endpoint, cause.span) == ("POST /api/orders", "UPDATE products")


def in_vain(sample):
    """The request waits for a connection until the pool gives up."""
    sample, spans = waiting(sample, seconds=2.0)
    failed = [replace(span, status="ERROR") for span in spans if span.name != "SELECT products"]
    return replace(sample, status=503, expected=False), failed


@pytest.mark.parametrize(("locks", "blamed"), [(1.0, "UPDATE products"), (0.0, POOL_WAIT_SPAN)])
def test_a_wait_in_vain_is_charged_to_the_statement_that_kept_the_connections_if_there_is_one(run, locks, blamed):
    run.spoil(locks, ORDER, locked)
    run.spoil(0.5, SEARCH, in_vain)
    first = next(cause for cause in causes_of(run) if cause.objective == "error-rate")
    assert (first.service, first.span) == ("product", blamed)
    assert first.share >= 0.5


def unanswered(sample):
    return replace(sample, status=0, error_code=1212, expected=False, duration=0.001), []


def test_a_dead_gateway_leaves_no_span_and_is_named(run):
    for endpoint in {sample.endpoint for sample in run.samples}:
        run.spoil(0.5, endpoint, unanswered)
    named = {(cause.objective, cause.service) for cause in causes_of(run)}
    assert named == {("p99-latency", "gateway"), ("error-rate", "gateway"), ("throughput", "gateway")}


def test_time_that_no_span_saw_is_said_to_be_outside(run):
    def late(sample):
        return replace(sample, duration=sample.duration + 1.0), run.spans[sample.trace_id]

    run.spoil(0.1, SEARCH, late)
    assert first_of(run).service == "client"


def test_children_in_parallel_are_not_counted_twice(run):
    def parallel(sample):
        sample = replace(sample, duration=1.01)
        maker = SpanMaker(sample.trace_id)
        root = maker.entry(sample)
        begin = sample.start + 0.002
        maker.call(root, "payment.v1.PaymentService/GetPayment", begin, begin + 0.4)
        maker.call(root, "product.v1.ProductService/GetProducts", begin, begin + 1.0)
        maker.call(root, "order.v1.OrderService/GetOrder", begin, begin + 0.5)
        return sample, maker.spans

    run.spoil(0.3, SEARCH, parallel)
    causes = {cause.service: cause.share for cause in causes_of(run) if cause.objective == "p99-latency"}
    assert causes["product"] == pytest.approx(1.0 / 1.9, abs=0.01)
    assert "gateway" not in causes


def cancelled_siblings(sample):
    """Three calls in parallel: one fails, the others are cancelled, the first of them before the failure is stamped."""
    sample = replace(sample, status=503, expected=False)
    maker = SpanMaker(sample.trace_id)
    root = maker.entry(sample, error="Unavailable")
    begin = sample.start + 0.002
    maker.call(root, "product.v1.ProductService/GetProducts", begin, begin + 0.003, error="CANCELLED")
    maker.call(root, "payment.v1.PaymentService/GetPayment", begin, begin + 0.004, error="UNAVAILABLE")
    maker.call(root, "order.v1.OrderService/GetOrder", begin, begin + 0.005, error="CANCELLED")
    return sample, maker.spans


def test_calls_that_were_cancelled_because_another_failed_are_not_the_cause(run):
    run.spoil(0.3, "/api/orders/{id}", cancelled_siblings)
    assert first_of(run).service == "payment"


def test_a_run_without_spans_names_no_cause(run):
    run.spoil(0.3, SEARCH, delayed)
    assert causes_of(run, spans=None, access_lines=None, server_requests=None) == ()


def test_thirty_thousand_bad_and_good_requests_are_explained_within_seconds(gate):
    run = make_run(gate, seconds=30.0, rate=860)
    run.spoil(0.5, SEARCH, delayed)
    run.spoil(0.5, ORDER, failing_charge)
    facts = run.facts()
    begin = perf_counter()
    assert evaluate(facts).verdict.causes[0].span == "SELECT products"
    assert perf_counter() - begin < 10
