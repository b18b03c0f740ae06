"""`goshop trace` against a Tempo, a Jaeger and a Loki: what they have, and what they lack."""

import json

import pytest

from goshop import jaeger, loki, tempo
from goshop.ports import reserve
from goshop.remote import connect
from tests.goshop.answering import answering
from tests.goshop.stores import (
    AT,
    BEGAN,
    IN_JSON,
    JAEGER,
    JSON,
    LINES,
    NONE,
    PARTIAL,
    PROTOBUF,
    TEXT,
    TRACE,
    UNKNOWN,
    WHOLE,
    a_loki,
    a_tempo,
    line,
    now_loki,
    query_of,
    record,
    streams,
)


@pytest.mark.parametrize(("kind", "body"), [(PROTOBUF, WHOLE), (JSON, IN_JSON)])
def test_a_trace_of_tempo_is_drawn_with_the_lines_of_loki(trace, kind, body):
    with a_tempo(kind, body) as spans, a_loki(*LINES) as logs:
        result = trace(TRACE, "--tempo", spans, "--loki", logs)
    assert result.exit_code == 0, result.stderr
    rows = [row.split() for row in result.stdout.splitlines()]
    assert [row[:2] for row in rows[3:7]] == [
        ["gateway", "GET"],
        ["gateway", "ProductService/Search"],
        ["product", "ProductService/Search"],
        ["product", "SELECT"],
    ]
    assert rows[1] == ["from", spans, "and", logs]
    assert result.stdout.index("found 3") < result.stdout.index("later")
    assert "!" not in result.stdout


def test_protobuf_is_asked_for_and_says_the_same_as_json():
    asked = []
    with answering(lambda request: asked.append(request) or (200, PROTOBUF, WHOLE)) as url:
        found = tempo.fetch(connect(url, tempo.NAMES, NONE), TRACE)
    assert asked[0].path == f"/api/v2/traces/{TRACE}"
    assert asked[0].headers["accept"].startswith(PROTOBUF)
    with a_tempo(JSON, IN_JSON) as url:
        assert set(map(repr, tempo.fetch(connect(url, tempo.NAMES, NONE), TRACE).spans)) == set(map(repr, found.spans))
    assert {span.trace_id for span in found.spans} == {TRACE}
    assert [span.status for span in found.spans].count("ERROR") == 2


def test_ids_in_hexadecimal_as_otlp_writes_them_are_read_too():
    said = json.loads(IN_JSON)
    for resource in said["trace"]["resourceSpans"]:
        for span in resource["scopeSpans"][0]["spans"]:
            span["traceId"] = TRACE
    with a_tempo(JSON, json.dumps(said).encode()) as url:
        assert {span.trace_id for span in tempo.fetch(connect(url, tempo.NAMES, NONE), TRACE).spans} == {TRACE}


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        *((200, JSON, UNKNOWN), (200, JSON, b'{"trace":null}'), (200, PROTOBUF, b"")),
        *((404, TEXT, b"trace not found"), (404, JSON, b""), (404, TEXT, b"")),
    ],
)
def test_a_trace_that_tempo_does_not_know_is_no_trace(trace, status, kind, body):
    with a_tempo(kind, body, status) as spans:
        result = trace(TRACE, "--tempo", spans)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"no trace {TRACE}: {spans} does not know it" in result.stderr


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (PROTOBUF, WHOLE + PARTIAL),
        (JSON, IN_JSON.rstrip()[:-1] + b',"status":"PARTIAL","message":"too many bytes"}'),
    ],
)
def test_a_partial_trace_is_said_to_be_one(trace, kind, body):
    with a_tempo(kind, body) as spans:
        drawn, machine = trace(TRACE, "--tempo", spans), trace(TRACE, "--tempo", spans, "--json")
    remark = f"{spans} has only a part of the trace: too many bytes"
    assert drawn.exit_code == 0
    assert f"! {remark}" in drawn.stdout
    assert json.loads(machine.stdout)["remarks"] == [remark]
    assert len(json.loads(machine.stdout)["spans"]) == 4


def test_loki_is_asked_for_the_lines_around_the_spans(trace):
    asked = []
    with a_tempo() as spans, answering(lambda request: asked.append(request) or (200, JSON, streams())) as logs:
        result = trace(TRACE, "--tempo", spans, "--loki", logs)
    (query,) = map(query_of, asked)
    assert query["query"] == f'{{job="backend-app"}} | trace_id="{TRACE}"'
    assert abs(int(query["start"]) / 1e9 - (BEGAN - 60)) < 0.001
    assert abs(int(query["end"]) / 1e9 - (BEGAN + 60.0508)) < 0.001
    assert (query["limit"], query["direction"]) == ("5000", "forward")
    assert f"! {logs} has no line of it" in result.stdout


def test_a_line_that_was_delivered_twice_is_shown_once_and_of_any_form():
    traceback = 'Traceback traceID="…"\n  File "x.py"\nValueError'
    with a_loki(
        line(AT, record("a")), line(AT, record("a")), line(AT + 1, traceback, level="error", service="order")
    ) as url:
        first, second = loki.fetch(connect(url, loki.NAMES, NONE), TRACE, BEGAN - 60, BEGAN + 60).records
    assert first["message"] == "a"
    assert second == {
        "timestamp": "2026-11-23T08:21:42.261112Z",
        "level": "error",
        "service": "order",
        "trace_id": TRACE,
        "span_id": "",
        "message": 'Traceback traceID="…"',
        "exception": '  File "x.py"\nValueError',
    }


def test_as_many_lines_as_loki_gives_at_most_are_said_to_be_the_first():
    many = {"stream": {"trace_id": TRACE}, "values": [[str(AT + n), record(str(n))] for n in range(5_000)]}
    with a_loki(many, warnings=["a shard is away"]) as url:
        found = loki.fetch(connect(url, loki.NAMES, NONE), TRACE, BEGAN - 60, BEGAN + 60)
    assert len(found.records) == 5_000
    assert found.remarks == (f"{url}: a shard is away", f"{url} gave the first 5000 lines only")


def test_the_beginning_of_an_id_is_looked_up_in_loki(trace):
    with now_loki("e" * 32) as logs:
        result = trace(TRACE[:8], "--loki", logs, "--json")
    found = json.loads(result.stdout)
    assert (found["trace_id"], found["spans"], len(found["logs"])) == (TRACE, None, 1)
    assert found["remarks"] == ["no spans were asked for: name a Tempo with --tempo, or a Jaeger with --jaeger"]
    assert found["missing"] == []


def test_a_beginning_that_several_traces_share_in_loki_names_them(trace):
    other = TRACE[:8] + "f" * 24
    with now_loki(other) as logs:
        result = trace(TRACE[:8], "--loki", logs)
    assert result.exit_code == 2
    assert TRACE in result.stderr
    assert other in result.stderr


def test_a_beginning_that_no_line_has_is_no_trace(trace):
    with now_loki() as logs:
        result = trace("0" * 8, "--loki", logs, "--hours", "2")
    assert result.exit_code == 2
    assert f"no line of {logs} has an id that begins with 00000000 (logs of the last 2 h)" in result.stderr


def test_a_beginning_cannot_be_looked_up_where_there_is_no_loki(trace):
    with a_tempo() as spans:
        result = trace(TRACE[:31], "--tempo", spans)
    assert result.exit_code == 2
    assert "looks up whole ones: give all 32 digits, or name a Loki with --loki" in result.stderr


def test_spans_are_shown_though_loki_is_away(trace):
    with a_tempo() as spans, reserve(1) as (port,):
        result = trace(TRACE, "--tempo", spans, "--loki", f"http://127.0.0.1:{port}")
    assert result.exit_code == 0
    assert "SELECT products" in result.stdout
    assert f"! no log lines: nothing answers at http://127.0.0.1:{port}: " in result.stdout


def test_lines_are_shown_though_tempo_is_away_and_nothing_is_called_missing(trace):
    with now_loki() as logs, reserve(1) as (port,):
        result = trace(TRACE, "--tempo", f"http://127.0.0.1:{port}", "--loki", logs)
    assert result.exit_code == 0
    assert "hello" in result.stdout
    assert f"! no spans: nothing answers at http://127.0.0.1:{port}: " in result.stdout
    assert "missing" not in result.stdout
    assert "has no span" not in result.stdout


def test_lines_without_spans_in_a_tempo_that_answers_are_a_trace_that_it_has_no_span_of(trace):
    with a_tempo(JSON, UNKNOWN) as spans, now_loki() as logs:
        result = trace(TRACE, "--tempo", spans, "--loki", logs)
    assert result.exit_code == 0
    assert f"! {spans} has no span of it: only log lines" in result.stdout
    assert "was written" not in result.stdout


def test_where_a_store_is_away_and_the_other_knows_nothing_nobody_can_tell(trace):
    with a_tempo(JSON, UNKNOWN) as spans, reserve(1) as (port,):
        result = trace(TRACE, "--tempo", spans, "--loki", f"http://127.0.0.1:{port}")
    assert (result.exit_code, result.stdout) == (5, "")
    assert "goshop: nothing answers at" in result.stderr


def test_a_trace_that_neither_store_knows_says_what_was_searched(trace):
    with a_tempo(JSON, UNKNOWN) as spans, a_loki() as logs:
        result = trace(TRACE, "--tempo", spans, "--loki", logs)
    assert result.exit_code == 2
    assert f"no trace {TRACE}: {spans} and {logs} do not know it (logs of the last 24 h)" in result.stderr


def test_what_was_said_beside_it_is_said_of_no_trace_too(trace):
    with a_tempo(JSON, UNKNOWN) as spans, a_loki(warnings=["a shard is away"]) as logs:
        result = trace(TRACE, "--tempo", spans, "--loki", logs)
    assert result.exit_code == 2
    assert f"do not know it (logs of the last 24 h); {logs}: a shard is away" in result.stderr


def test_credentials_and_tenant_come_from_the_environment(trace):
    asked = []
    environ = {"TEMPO_USER": "me", "TEMPO_PASSWORD": "s3cret", "LOKI_TOKEN": "t0ken", "LOKI_TENANT": "team-a"}
    with (
        answering(lambda request: asked.append(request) or (200, PROTOBUF, WHOLE)) as spans,
        answering(lambda request: asked.append(request) or (200, JSON, streams(*LINES))) as logs,
    ):
        result = trace(TRACE, TEMPO_URL=spans, LOKI_URL=logs, **environ)
    assert result.exit_code == 0
    assert [request.headers.get("authorization") for request in asked] == ["Basic bWU6czNjcmV0", "Bearer t0ken"]
    assert [request.headers.get("x-scope-orgid") for request in asked] == [None, "team-a"]
    assert "s3cret" not in result.output


@pytest.mark.parametrize(
    ("arguments", "environ", "said"),
    [
        (["--tempo", "http://t", "--jaeger", "http://j"], {}, "which one has the spans?"),
        ([], {"TEMPO_URL": "http://t", "JAEGER_URL": "http://j"}, "which one has the spans?"),
        (["--tempo", "http://t", "--run", "x"], {}, "--tempo names a store: which one is meant?"),
        (["--loki", "http://l", "--dir", "x"], {}, "--loki names a store: which one is meant?"),
        (["--tempo", "tempo:3200"], {}, "expected an address such as https://tempo.example.org for --tempo or"),
        (["--loki", "http://me:s3cret@l"], {}, "--loki or LOKI_URL holds credentials, and is shown in messages"),
        (["--loki", "http://l"], {"LOKI_TENANT": "a\r\nb"}, "LOKI_TENANT holds characters that no header can have"),
    ],
)
def test_what_cannot_be_meant_is_refused(trace, arguments, environ, said):
    result = trace(TRACE, *arguments, **environ)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "s3cret" not in result.output


def test_files_that_were_named_win_over_the_stores_of_the_environment(trace, tmp_path):
    result = trace(TRACE, "--dir", str(tmp_path), TEMPO_URL="http://127.0.0.1:1")
    assert result.exit_code == 2
    assert "there is no run yet" in result.stderr


def test_where_only_the_environment_names_a_store_it_is_said_that_no_files_were_searched(trace):
    with a_tempo(JSON, UNKNOWN) as spans:
        named, said = trace(TRACE, TEMPO_URL=spans), trace(TRACE, "--tempo", spans)
    assert named.exit_code == said.exit_code == 2
    assert "as TEMPO_URL named where to look, files of runs were not searched: --dir names them" in named.stderr
    assert "files" not in said.stderr


def test_a_store_that_was_named_takes_the_place_of_the_environment_s_other_one(trace):
    with a_tempo() as spans:
        result = trace(TRACE, "--tempo", spans, JAEGER_URL="http://127.0.0.1:1")
    assert result.exit_code == 0


def test_a_trace_of_jaeger_is_read_like_one_of_tempo(trace):
    asked = []
    with answering(lambda request: asked.append(request) or (200, JSON, JAEGER)) as spans:
        result = trace(TRACE, "--jaeger", spans)
    assert result.exit_code == 0, result.stderr
    assert asked[0].path == f"/api/v3/traces/{TRACE}"
    assert "SELECT products" in result.stdout
    assert "!" not in result.stdout
    with answering(lambda _: (200, JSON, JAEGER)) as spans, a_tempo() as other:
        found = {span.span_id: span for span in jaeger.fetch(connect(spans, jaeger.NAMES, NONE), TRACE).spans}
        for span in tempo.fetch(connect(other, tempo.NAMES, NONE), TRACE).spans:
            same = found[span.span_id]
            assert (same.name, same.kind, same.parent_id, same.start_ns, same.end_ns, same.status) == (
                span.name,
                span.kind,
                span.parent_id,
                span.start_ns,
                span.end_ns,
                span.status,
            )


def test_a_jaeger_that_does_not_know_the_trace_says_so(trace):
    body = b'{"error":{"httpCode":404,"message":"trace not found"}}\n'
    with answering(lambda _: (404, JSON, body)) as spans:
        result = trace(TRACE, "--jaeger", spans)
    assert result.exit_code == 2
    assert "does not know it" in result.stderr
