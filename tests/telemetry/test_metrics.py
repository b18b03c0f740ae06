"""Metrics: the contract's names and buckets, exemplars of sampled traces, and never more label sets than a bound."""

import asyncio
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from telemetry import conventions as c
from telemetry.exporters import ConfigurationError
from telemetry.exposition import metrics_app, metrics_response, scrape
from telemetry.histogram import BATCH, LABEL_SETS, SLICE, Cell, Cells, HotHistogram
from telemetry.http import known_methods
from telemetry.loop import watch_event_loop_lag
from telemetry.metrics import Level, Metrics, metrics_of
from telemetry.testing import fresh_telemetry

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,*/*;q=0.2"
)
TRACE = "0af7651916cd43dd8448eb211c80319c"
ROOT = Path(__file__).parents[2]
# Whole 512ths of a second are exact in nanoseconds and in binary: sums come out the same in any order.
STEP = 1_000_000_000 // 512

label_values = st.tuples(*[st.text(st.characters(exclude_categories=["Cs"]), max_size=4)] * 3)
observations = st.lists(st.tuples(label_values, st.integers(0, 4_000), st.booleans()), max_size=30)


async def ok(scope: Any, _receive: Any, send: Any) -> None:
    scope["path_template"] = scope["path"] if scope["path"] != "/unknown" else ""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})


def hot(registry: CollectorRegistry, text: str = "HTTP requests served.") -> HotHistogram:
    def same(values: tuple[str, ...]) -> tuple[str, ...]:
        return values

    return HotHistogram("took_seconds", text, c.HTTP_LABELS, c.HTTP_BUCKETS, overflow=same, registry=registry)


def stock(registry: CollectorRegistry, text: str = "HTTP requests served.") -> Histogram:
    return Histogram("took_seconds", text, c.HTTP_LABELS, buckets=c.HTTP_BUCKETS, registry=registry)


def without_times(exposition: bytes) -> list[str]:
    """The lines without what the two cannot have in common: when an exemplar was seen, when a child was made."""
    lines = exposition.decode().split("\n")
    return [re.sub(r'( # \{trace_id="\w+"\} \S+) \S+$', r"\1", line) for line in lines if "_created" not in line]


@given(observations, st.text(st.characters(exclude_categories=["Cs"]), max_size=5))
def test_every_renderer_says_what_the_stock_client_says_of_the_same_observations(
    seen: list[tuple[tuple[str, ...], int, bool]], documentation: str
):
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    cells, children = hot(ours, documentation).cells, stock(theirs, documentation)
    for values, steps, traced in seen:
        cells[values].observe(steps * STEP, TRACE if traced else "")
        children.labels(*values).observe(steps / 512, {"trace_id": TRACE} if traced else None)
    text, openmetrics = without_times(generate_latest(theirs)), without_times(generate_openmetrics(theirs))
    for _ in range(2):
        assert without_times(metrics_response("", ours)[0]) == text
        assert without_times(metrics_response(OPENMETRICS, ours)[0]) == openmetrics
    assert without_times(generate_latest(ours)) == text
    assert without_times(generate_openmetrics(ours)) == openmetrics


@given(st.lists(st.tuples(st.sampled_from(c.HTTP_BUCKETS), st.integers(-2, 2))))
def test_the_edge_of_a_bucket_belongs_to_it(edges: list[tuple[float, int]]):
    theirs = stock(CollectorRegistry()).labels("", "", "")
    ours = hot(CollectorRegistry()).cells["", "", ""]
    for edge, off in edges:
        nanoseconds = round(edge * 1e9) + off
        ours.observe(nanoseconds)
        theirs.observe(nanoseconds / 1e9)
    assert ours.read().counts == [bucket.get() for bucket in theirs._buckets]
    assert ours.read().nanoseconds == pytest.approx(theirs._sum.get() * 1e9)


def test_large_numbers_are_spelled_as_the_stock_client_does():
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    cell, child = hot(ours).cells["GET", "} %d.0", "%s"], stock(theirs).labels("GET", "} %d.0", "%s")
    cell.observe(0, TRACE)
    child.observe(0, {"trace_id": TRACE})
    cell._counts[1], cell._sum = 1_234_567, 2_500_000 * 1_000_000_000
    child._buckets[1].inc(1_234_567)
    child._sum.inc(2_500_000)
    assert without_times(metrics_response("", ours)[0]) == without_times(generate_latest(theirs))
    assert without_times(metrics_response(OPENMETRICS, ours)[0]) == without_times(generate_openmetrics(theirs))
    assert "1.234568e+06" in metrics_response("", ours)[0].decode()


@pytest.mark.parametrize(
    "accept",
    ["", "*/*", OPENMETRICS, PROMETHEUS_3, "application/openmetrics-text", "text/plain; version=1.0.0"]
    + [
        f"{kind}; version=1.0.0; escaping={how}"
        for kind in ("text/plain", OPENMETRICS[:28])
        for how in ("dots", "values")
    ],
)
async def test_a_whole_registry_is_what_the_stock_client_makes_of_it(accept: str):
    metrics = metrics_of(CollectorRegistry())
    Gauge("theirs", "Somebody else's.", registry=metrics.registry).set(1)
    metrics.http_duration["GET", 'a\\b"c\nd%s', "200"].observe(7, TRACE)
    metrics.redis_duration["GET", "ok"].observe(7)
    metrics.query_errors["SELECT", "23505"].inc()
    metrics.http_in_progress["GET"].inc()
    encoder, content_type = choose_encoder(accept)
    expected = encoder(metrics.registry), content_type
    assert metrics_response(accept, metrics.registry) == expected
    assert await scrape(accept, metrics.registry) == expected


def test_a_restricted_registry_has_our_families_too():
    metrics = metrics_of(CollectorRegistry())
    metrics.http_duration["GET", "/", "200"].observe(7)
    metrics.http_in_progress["GET"].inc()
    names = [f"{c.HTTP_REQUEST_DURATION}_count", c.HTTP_REQUESTS_IN_PROGRESS]
    text = generate_latest(metrics.registry.restricted_registry(names)).decode()
    assert sorted({line.split("{")[0] for line in text.splitlines() if line[0] != "#"}) == names


def test_an_exemplar_is_read_back_with_its_duration_and_its_time():
    registry = CollectorRegistry()
    before = time.time()
    hot(registry).cells["GET", "/", "200"].observe(60_000_000, TRACE)
    (family,) = parse_openmetrics(metrics_response(OPENMETRICS, registry)[0].decode())
    (exemplar,) = [sample.exemplar for sample in family.samples if sample.exemplar]
    assert (exemplar.labels, exemplar.value) == ({"trace_id": TRACE}, 0.06)
    assert before - 0.001 <= float(exemplar.timestamp) <= time.time()


@contextmanager
def hasty_threads() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def run_at_once(*jobs: Callable[[], Any]) -> None:
    start = threading.Barrier(len(jobs))

    def run(job: Callable[[], Any]) -> None:
        start.wait()
        job()

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_threads_lose_no_observation_while_others_scrape():
    histogram = hot(CollectorRegistry())

    def observe() -> None:
        for number in range(10_000):
            histogram.cells["GET", f"/{number % 3}", "200"].observe(number, TRACE)

    def read() -> None:
        for _ in range(200):
            "".join(histogram.render(openmetrics=True))

    with hasty_threads():
        run_at_once(observe, observe, observe, read)
    readings = [cell.read() for _, cell in histogram.every_cell()]
    assert sum(sum(reading.counts) for reading in readings) == 30_000
    assert sum(reading.nanoseconds for reading in readings) == 3 * sum(range(10_000))


def test_threads_that_come_at_once_share_a_label_set():
    for number in range(50):
        histogram = hot(CollectorRegistry())
        found: list[Cell] = []
        with hasty_threads():
            run_at_once(*[lambda h=histogram, f=found: f.append(h.cells["GET", "/", "200"])] * 4)
        assert len(set(map(id, found))) == 1, number


def test_threads_leave_a_level_where_it_was():
    level = Level()

    def come_and_go() -> None:
        for _ in range(20_000):
            level.inc()
            level.dec()

    with hasty_threads():
        run_at_once(come_and_go, come_and_go, level.inc)
    assert level.value == 1


def test_who_observes_in_the_middle_of_a_scrape_is_not_kept_waiting():
    histogram = hot(CollectorRegistry())
    cell = histogram.cells["GET", "/", "200"]
    with histogram.lock:  # as a finalizer or a signal handler may find it, in the very thread that holds it
        for _ in range(3 * BATCH):
            cell.observe(1)
    assert sum(cell.read().counts) == 3 * BATCH


FORKED = """
import os, threading, time
from prometheus_client import REGISTRY
from telemetry.exposition import metrics_response
from telemetry.metrics import metrics_of
durations = metrics_of(REGISTRY).http_duration
durations["GET", "/", "200"].observe(1)
held = threading.Event()
def hold():
    with durations.metric.lock:
        held.set()
        time.sleep(60)
threading.Thread(target=hold, daemon=True).start()
held.wait()
if os.fork() == 0:
    durations["GET", "/", "200"].observe(1)
    os._exit(b'status_code="200"} 2.0' not in metrics_response("")[0])
os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


def test_a_forked_child_can_be_scraped_whatever_the_threads_of_its_parent_did():
    subprocess.run([sys.executable, "-c", FORKED], cwd=ROOT, check=True, timeout=30)


def test_a_label_that_is_no_unicode_breaks_no_scrape():
    registry = CollectorRegistry()
    cells = hot(registry).cells
    for value in ("\ud800", "?", "\ud801"):
        cells["GET", value, "200"].observe(1)
    assert generate_latest(registry) == metrics_response("", registry)[0]
    assert (
        'took_seconds_count{endpoint="?",method="GET",status_code="200"} 3.0'
        in metrics_response("", registry)[0].decode()
    )


def filled(get: Callable[..., Any], observe: Callable[[Any], Any]) -> None:
    for number in range(1_000):
        for _ in range(3):
            observe(get("GET", f"/things/{number}", "200"))


def fastest(call: Callable[[], Any]) -> float:
    times = []
    for _ in range(3):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


def test_a_thousand_label_sets_are_rendered_far_faster_than_by_the_stock_client():
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    cells = hot(ours).cells
    filled(lambda *values: cells[values], lambda cell: cell.observe(5, TRACE))
    filled(stock(theirs).labels, lambda child: child.observe(5e-9, {"trace_id": TRACE}))

    def observed_since() -> None:
        for cell in cells.values():
            cell._lines = ["", ""]
        metrics_response(OPENMETRICS, ours)

    slow = fastest(lambda: generate_openmetrics(theirs))
    assert fastest(observed_since) < slow / 4
    assert fastest(lambda: metrics_response(OPENMETRICS, ours)) < slow / 25


async def test_a_scrape_lets_others_use_the_event_loop():
    registry = CollectorRegistry()
    cells = hot(registry).cells
    filled(lambda *values: cells[values], lambda cell: cell.observe(5))
    scraping = asyncio.create_task(scrape("", registry))
    turns = 0
    while not scraping.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns >= LABEL_SETS / SLICE
    assert (await scraping)[0] == generate_latest(registry)


def test_the_contract_s_metrics_have_its_names_labels_and_buckets():
    metrics = metrics_of(CollectorRegistry())
    internal = tuple(map(str, c.INTERNAL_BUCKETS))
    for cells, name, labels, bounds in (
        (metrics.http_duration, c.HTTP_REQUEST_DURATION, c.HTTP_LABELS, tuple(map(str, c.HTTP_BUCKETS))),
        (metrics.rpc_server_duration, c.RPC_SERVER_DURATION, c.RPC_LABELS, internal),
        (metrics.rpc_client_duration, c.RPC_CLIENT_DURATION, c.RPC_LABELS, internal),
        (metrics.query_duration, c.DB_QUERY_DURATION, c.DB_QUERY_LABELS, internal),
        (metrics.redis_duration, c.REDIS_COMMAND_DURATION, c.REDIS_LABELS, internal),
    ):
        assert (cells.metric.name, cells.metric.labels) == (name, labels)
        assert cells.metric.spelled_bounds == (*bounds, "+Inf")


def test_a_name_is_taken_once():
    registry = CollectorRegistry()
    hot(registry)
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        Counter("took_seconds_count", "x", registry=registry)


def test_a_registry_has_its_metrics_once_however_often_a_process_is_configured():
    registry = CollectorRegistry()
    first, _ = fresh_telemetry(registry=registry)
    second, _ = fresh_telemetry(registry=registry)
    assert first.metrics is second.metrics


async def test_a_scraper_of_openmetrics_gets_the_trace_id_as_exemplar(served: Any):
    async with served(ok) as world:
        await world.get("/a", headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
        await world.get("/b", headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-00"})
        body, content_type = metrics_response(OPENMETRICS, world.registry)
    assert content_type.startswith("application/openmetrics-text")
    exemplars = {
        sample.labels["endpoint"]: sample.exemplar.labels
        for family in parse_openmetrics(body.decode())
        for sample in family.samples
        if family.name == c.HTTP_REQUEST_DURATION and sample.exemplar
    }
    assert exemplars == {"/a": {"trace_id": TRACE}}


async def test_a_scraper_of_text_gets_the_stock_spelling(served: Any):
    async with served(ok) as world:
        await world.get("/a")
        body, content_type = metrics_response("", world.registry)
    assert content_type.startswith("text/plain")
    assert (
        'http_request_duration_seconds_bucket{endpoint="/a",le="1.0",method="GET",status_code="200"} 1.0'
        in body.decode()
    )
    assert "# {" not in body.decode()
    assert {family.name for family in parse_text(body.decode())} >= {c.HTTP_REQUESTS_IN_PROGRESS, c.DB_POOL_WAIT}


async def test_the_metrics_application_answers_get_and_head_only(served: Any):
    async with served(metrics_app, wrap=False) as world:
        got = await world.get("/anything", headers={"accept": OPENMETRICS})
        head = await world.client.head("/")
        post = await world.client.post("/")
    assert got.text.endswith("# EOF\n")
    assert (head.status_code, head.content, int(head.headers["content-length"]) > 0) == (200, b"", True)
    assert (post.status_code, post.headers["allow"]) == (405, "GET, HEAD")


async def test_unmatched_paths_are_one_label_value(served: Any):
    async with served(ok) as world:
        for _ in range(3):
            await world.get("/unknown")
        assert world.observations == {("GET", c.UNMATCHED_ENDPOINT, "200"): 3}


async def test_an_unknown_method_is_other_and_its_own_name_is_on_the_span(served: Any):
    async with served(ok) as world:
        await world.client.request("PROPFIND", "/here")
        span, line = await world.told()
    assert (span.name, line[c.LOG_METHOD]) == ("HTTP /here", "PROPFIND")
    assert span.attributes[c.HTTP_REQUEST_METHOD] == c.OTHER_METHOD
    assert span.attributes[c.HTTP_REQUEST_METHOD_ORIGINAL] == "PROPFIND"
    assert world.observations == {(c.OTHER_METHOD, "/here", "200"): 1}


def test_the_known_methods_can_be_named():
    assert known_methods({"OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS": "GET, BREW"}) == {"GET", "BREW"}
    assert "PATCH" in known_methods({})


def test_past_the_bound_endpoints_are_one_and_statuses_are_classes():
    family = metrics_of(CollectorRegistry()).http_duration
    for number in range(LABEL_SETS + 10):
        family["GET", f"/{number}", "500"].observe(1)
    family["GET", "/one-more", ""].observe(1)
    counts = {values: sum(cell.read().counts) for values, cell in family.metric.every_cell()}
    assert (len(family), len(counts)) == (LABEL_SETS, LABEL_SETS + 2)
    assert counts["GET", c.OVERFLOW_ENDPOINT, "5xx"] == 10
    assert counts["GET", c.OVERFLOW_ENDPOINT, ""] == 1
    assert counts["GET", "/7", "500"] == 1
    assert family["GET", "/more", "500"] is family["GET", "/even-more", "500"]


def counted(cells: Cells) -> dict[tuple[str, ...], float]:
    """How often each label set that is exported was observed."""
    (family,) = cells.metric.collect()
    return {
        tuple(sample.labels[name] for name in cells.metric.labels): sample.value
        for sample in family.samples
        if sample.name.endswith("_count")
    }


def test_a_route_s_defects_are_there_at_0_from_its_first_request_on():
    metrics = metrics_of(CollectorRegistry())
    metrics.http_duration["GET", "/items", "200"].observe(1)
    metrics.rpc_server_duration["shop.v1.Items", "Get", "OK"].observe(1)
    metrics.rpc_client_duration["shop.v1.Items", "Get", "OK"].observe(1)
    assert counted(metrics.http_duration) == {("GET", "/items", "200"): 1, ("GET", "/items", "500"): 0}
    metrics.http_duration["GET", "/items", "500"].observe(1)
    assert counted(metrics.http_duration) == {("GET", "/items", "200"): 1, ("GET", "/items", "500"): 1}
    method = "shop.v1.Items", "Get"
    assert counted(metrics.rpc_server_duration) == {(*method, "OK"): 1, (*method, "INTERNAL"): 0}
    # A client's are nobody's budget.
    assert counted(metrics.rpc_client_duration) == {(*method, "OK"): 1}


def test_so_are_the_failures_that_the_application_knows():
    telemetry, _ = fresh_telemetry(failures=(HTTPStatus.SERVICE_UNAVAILABLE, 500, "UNAVAILABLE"))
    telemetry.metrics.http_duration["GET", "/items", "200"].observe(1)
    telemetry.metrics.rpc_server_duration["shop.v1.Items", "Get", "OK"].observe(1)
    telemetry.shutdown()
    statuses = [[status for *_, status in counted(cells)] for cells in both(telemetry.metrics)]
    assert [sorted(each) for each in statuses] == [["200", "500", "503"], ["INTERNAL", "OK", "UNAVAILABLE"]]


def both(metrics: Metrics) -> tuple[Cells, Cells]:
    return metrics.http_duration, metrics.rpc_server_duration


def test_a_second_configuration_has_its_failures_beside_what_was_observed_before():
    registry = CollectorRegistry()
    telemetry, _ = fresh_telemetry(registry=registry)
    telemetry.metrics.http_duration["GET", "/items", "200"].observe(1)
    telemetry.shutdown()
    telemetry, _ = fresh_telemetry(registry=registry, failures=(503,))
    telemetry.shutdown()
    assert sorted(status for *_, status in counted(telemetry.metrics.http_duration)) == ["200", "500", "503"]


@pytest.mark.parametrize("failure", [200, 0, 999, "503", "OK", "unavailable"])
def test_what_is_no_failure_is_refused(failure: int | str):
    with pytest.raises(ConfigurationError, match=rf"failures: {failure!r} is no failure"):
        fresh_telemetry(failures=(failure,))


def test_the_statuses_of_grpc_are_as_it_has_them():
    assert c.RPC_STATUS_CODES[0] == "OK"
    assert set(c.RPC_STATUS_CODES) == set(grpc.StatusCode.__members__)


FAILURES = ("500", "503", "504")


def with_failures() -> Cells:
    cells = hot(CollectorRegistry()).cells
    cells.metric.foresee(FAILURES)
    return cells


def test_what_is_at_0_never_takes_the_room_of_what_was_observed():
    cells = with_failures()
    for number in range(LABEL_SETS):
        cells["GET", f"/{number}", "200"].observe(1)
        assert len(list(cells.metric.every_cell())) <= LABEL_SETS
    found = counted(cells)
    assert found == {("GET", f"/{number}", "200"): 1 for number in range(LABEL_SETS)}


def test_half_full_there_is_room_for_the_failures_of_some():
    cells = with_failures()
    for number in range(LABEL_SETS // 2):
        cells["GET", f"/{number}", "200"].observe(1)
    found = counted(cells)
    assert (len(found), sum(found.values())) == (LABEL_SETS, LABEL_SETS // 2)
    # The first routes of a process are its usual ones.
    assert {found["GET", f"/{number}", status] for number in range(LABEL_SETS // 10) for status in FAILURES} == {0}


def test_a_failure_that_lost_its_place_is_counted_all_the_same():
    cells = with_failures()
    for number in range(LABEL_SETS - 1):
        cells["GET", f"/{number}", "200"].observe(1)
    cells["GET", "/0", "503"].observe(1)
    cells["GET", "/0", "504"].observe(1)
    assert counted(cells)["GET", "/0", "503"] == 1
    assert len(cells) == LABEL_SETS


# A third scrape of the same registry would find the same lines.
def test_what_is_at_0_is_rendered_once_and_like_the_stock_client_s():
    registry = CollectorRegistry()
    histogram = hot(registry)
    histogram.foresee(FAILURES)
    histogram.cells["GET", "/items", "200"].observe(1)
    assert metrics_response("", registry)[0] == generate_latest(registry)
    rendered = {values: cell.lines(openmetrics=False) for values, cell in histogram.every_cell()}
    histogram.cells["GET", "/items", "503"].observe(1)
    again = {values: cell.lines(openmetrics=False) for values, cell in histogram.every_cell()}
    assert [values for values in again if again[values] is not rendered[values]] == [("GET", "/items", "503")]


def test_threads_that_observe_a_failure_at_once_observe_the_same():
    for _ in range(100):
        cells = with_failures()
        statuses = ("200", *FAILURES, "404")
        run_at_once(*[lambda c=cells, s=status: c["GET", "/", s].observe(1) for status in statuses for _ in range(2)])
        assert counted(cells) == {("GET", "/", status): 2 for status in statuses}


def test_what_is_called_like_the_overflow_is_no_second_label_set_of_that_name():
    family = metrics_of(CollectorRegistry()).query_duration
    name = (c.OVERFLOW_ENDPOINT, c.OVERFLOW_ENDPOINT)
    family[name].observe(1)
    for number in range(LABEL_SETS):
        family["SELECT", str(number)].observe(1)
    assert {values: sum(cell.read().counts) for values, cell in family.metric.every_cell()}[name] == 2
    assert len(list(family.metric.every_cell())) == LABEL_SETS


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), min_size=1, max_size=50))
def test_no_labels_grow_without_bound(pairs: list[tuple[str, str]]):
    metrics = metrics_of(CollectorRegistry())
    for number in range(LABEL_SETS):
        metrics.query_duration[f"filler{number}", "x"] = metrics.query_duration["filler", "x"]
        metrics.query_errors[f"filler{number}", "x"] = metrics.query_errors.metric.labels("filler", "x")
        metrics.http_in_progress[f"filler{number}"] = Level()
    for pair in pairs:
        metrics.query_duration[pair].observe(1)
        metrics.query_errors[pair].inc()
        metrics.http_in_progress[pair[0]].inc()
    overflow = (c.OVERFLOW_ENDPOINT, c.OVERFLOW_ENDPOINT)
    assert set(metrics.query_duration.metric._overflown) == {overflow}
    assert set(metrics.query_errors.metric._metrics) == {("filler", "x"), overflow}
    assert len(metrics.http_in_progress) == LABEL_SETS + 1
    assert metrics.http_in_progress[c.OVERFLOW_ENDPOINT].value == len(pairs)


async def test_the_lag_of_a_blocked_loop_is_seen(eventually: Any):
    telemetry, _ = fresh_telemetry()
    lag = telemetry.metrics.loop_lag
    task = asyncio.create_task(watch_event_loop_lag(0.001))
    await asyncio.sleep(0)
    ends = asyncio.get_running_loop().time() + 0.05
    while asyncio.get_running_loop().time() < ends:
        pass
    await eventually(lambda: lag._sum.get() > 0.04)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
