"""Metrics: the contract's names and buckets, exemplars of sampled traces, and never more label sets than a bound."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from telemetry import conventions as c
from telemetry.exposition import metrics_app, metrics_response
from telemetry.http import known_methods
from telemetry.loop import watch_event_loop_lag
from telemetry.metrics import LABEL_SETS, metrics_of
from telemetry.testing import fresh_telemetry

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
TRACE = "0af7651916cd43dd8448eb211c80319c"


async def ok(scope: Any, _receive: Any, send: Any) -> None:
    scope["path_template"] = scope["path"] if scope["path"] != "/unknown" else ""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})


def test_the_contract_s_metrics_have_its_names_labels_and_buckets():
    metrics = metrics_of(CollectorRegistry())
    assert metrics.http_duration.metric._labelnames == c.HTTP_LABELS
    assert tuple(metrics.http_duration.metric._kwargs["buckets"])[: len(c.HTTP_BUCKETS)] == c.HTTP_BUCKETS
    for family in (metrics.query_duration, metrics.redis_duration, metrics.rpc_client_duration):
        assert family.metric._kwargs["buckets"] == c.INTERNAL_BUCKETS


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
        family["GET", f"/{number}", "404"].observe(1)
    family["GET", "/one-more", ""].observe(1)
    labels = {tuple(s.labels.values()) for s in family.metric.collect()[0].samples if s.name.endswith("_count")}
    assert len(labels) == LABEL_SETS + 2
    assert ("GET", c.OVERFLOW_ENDPOINT, "4xx") in labels
    assert ("GET", c.OVERFLOW_ENDPOINT, "") in labels


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), min_size=1, max_size=50))
def test_no_labels_grow_without_bound(pairs: list[tuple[str, str]]):
    family = metrics_of(CollectorRegistry()).query_duration
    filled = {(f"filler{n}", "x"): family.metric for n in range(LABEL_SETS)}
    family.update(filled)  # type: ignore[arg-type]
    for pair in pairs:
        family[pair].observe(1)
    assert set(family.metric._metrics) == {(c.OVERFLOW_ENDPOINT, c.OVERFLOW_ENDPOINT)}


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
