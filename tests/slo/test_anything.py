"""Whatever a run leaves behind, torn traces and nonsense included, there is a verdict and there are reports."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from slo.gate import evaluate
from slo.report.html import render_html
from slo.report.junit import render_junit
from slo.report.markdown import render_markdown
from slo.verdict import Verdict
from telemetry.spans import SpanRecord
from tests.slo.synthetic import BEGIN, MadeSample, SyntheticRun

ids = st.sampled_from([f"{index:016x}" for index in range(6)])
traces = st.sampled_from([f"{index:032x}" for index in range(8)])
text = st.sampled_from(
    ["", "gateway", "product", "a.v1.B/C", "no-method", "pool.acquire", "CLIENT", "SERVER", "ERROR", "\x00<"]
)
attributes = st.dictionaries(
    st.sampled_from(["rpc.method", "rpc.response.status_code", "http.request.method", "url.path", "db.query.summary"]),
    text | st.integers(0, 999) | st.just("/api/products"),
)
spans = st.builds(
    SpanRecord,
    trace_id=traces,
    span_id=ids,
    parent_id=ids | st.just(""),
    service=text,
    name=text,
    kind=text,
    start_ns=st.integers(0, 10**10).map(lambda ns: ns + int(BEGIN * 1e9)),
    end_ns=st.integers(0, 10**10).map(lambda ns: ns + int(BEGIN * 1e9)),
    status=text,
    attributes=attributes,
)
samples = st.builds(
    MadeSample,
    trace_id=traces,
    endpoint=text,
    status=st.sampled_from([0, 200, 404, 429, 503]),
    duration=st.floats(0, 100),
    start=st.floats(BEGIN - 100, BEGIN + 100),
    expected=st.booleans(),
    warmup=st.booleans(),
)


@settings(deadline=None)
@given(st.lists(samples, max_size=30), st.lists(spans, max_size=40))
def test_there_is_a_verdict_on_anything(gate, made, recorded):
    by_trace: dict[str, list[SpanRecord]] = {}
    for span in recorded:
        by_trace.setdefault(span.trace_id, []).append(span)
    found = evaluate(SyntheticRun(gate, made, by_trace).facts())
    assert found.verdict.verdict != "pass"
    assert msgspec.json.decode(msgspec.json.encode(found.verdict), type=Verdict) == found.verdict
    assert all(0 < cause.share <= 1 for cause in found.verdict.causes)
    for render in (render_html, render_markdown):
        assert render(found.verdict, found.evidence)
    assert render_junit(found.verdict)
