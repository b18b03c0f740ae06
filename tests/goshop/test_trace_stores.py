"""`goshop trace` against a Tempo, a Jaeger and a Loki: what they have, what they lack, and what they say wrongly.

The Tempo's and the Jaeger's answers are those of real ones (tests/goshop/recorded/tempo-3.0.3, jaeger-1.57).
"""

import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner

from goshop import jaeger, loki, tempo
from goshop.cli import main
from goshop.ports import reserve
from goshop.remote import RemoteError, connect
from tests.goshop.answering import answering, drip, speaking

RECORDED = Path(__file__).parent / "recorded" / "tempo-3.0.3"
TRACE = (RECORDED / "trace_id.txt").read_text().strip()
WHOLE = (RECORDED / "trace_v2.pb").read_bytes()
IN_JSON = (RECORDED / "trace_v2.json").read_bytes()
UNKNOWN = (RECORDED / "trace_unknown.body").read_bytes()
# TraceByIDResponse: status = 1 (PARTIAL), message.
PARTIAL = b"\x18\x01\x22\x0etoo many bytes"
PROTOBUF, JSON, TEXT = "application/protobuf", "application/json", "text/plain; charset=utf-8"
# When the recorded request began, in unix s.
BEGAN = 1795422102.251112
NONE = {}


@pytest.fixture
def trace():
    """Run `goshop trace` with an environment that names no store."""

    def run(*arguments: str, **environ: str):
        named = {"TEMPO_URL": None, "JAEGER_URL": None, "LOKI_URL": None, **environ}
        return CliRunner().invoke(main, ["trace", *arguments], env=named)

    return run


def a_tempo(kind=PROTOBUF, body=WHOLE, status=200):
    return answering(lambda _: (status, kind, body))


def line(at, text, **labels: str):
    return {"stream": {"job": "backend-app", "trace_id": TRACE, **labels}, "values": [[str(at), text]]}


def record(message, service="product", trace_id=TRACE):
    return json.dumps({"message": message, "service": service, "trace_id": trace_id, "timestamp": "2026-11-23"})


def streams(*found: object, **more: object):
    return json.dumps({"status": "success", "data": {"resultType": "streams", "result": found}, **more}).encode()


def a_loki(*found: object, status=200, **more: object):
    return answering(lambda _: (status, JSON, streams(*found, **more)))


AT = int((BEGAN + 0.01) * 1e9)
LINES = (line(AT + 9, record("later")), line(AT, record("found 3")))


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


LIES = [
    (200, PROTOBUF, WHOLE[:-30], "cannot be read"),
    (200, PROTOBUF, b"\xff" * 40, "cannot be read: it breaks off in a number"),
    (200, PROTOBUF, b"\x0b\x00", "cannot be read: there is no wire type 3"),
    (200, PROTOBUF, b"\x0a\x03\xff\xff\xff", "cannot be read"),
    (200, PROTOBUF, WHOLE.replace(bytes.fromhex(TRACE), b"\xee" * 16), "answers with spans of another trace: eeee"),
    (200, PROTOBUF, WHOLE.replace(bytes.fromhex(TRACE), b"\xee" * 16, 1), "answers with spans of another trace: eeee"),
    # The message as a number: as many zero bytes as it says, or more than there can be.
    (200, PROTOBUF, b"\x18\x01\x20" + b"\x80" * 5 + b"\x20", "gives none of it: without a reason"),
    (200, PROTOBUF, b"\x18\x01\x20" + b"\x80" * 9 + b"\x01", "gives none of it: without a reason"),
    (200, PROTOBUF, PARTIAL, "has the trace in part, and gives none of it: too many bytes"),
    (200, JSON, b'{"status":"PARTIAL","message":"too big"}', "has the trace in part, and gives none of it: too big"),
    (200, JSON, b'{"status":"ok"}', "cannot be read: there is no trace in it"),
    (200, JSON, b"", "cannot be read"),
    (200, JSON, b"[]", "cannot be read"),
    (200, JSON, b'{"trace":{"resourceSpans":7}}', "cannot be read: no spans"),
    (200, JSON, b'{"trace":{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":7}]}]}]}}', "cannot be read"),
    (200, JSON, b'{"trace":{"resourceSpans":[{"scopeSpans":[{"spans":["x"]}]}]}}', "cannot be read: no spans"),
    (200, JSON, b'{"trace":' + b"[" * 100_000, "cannot be read"),
    (200, "text/html", b"<html>Log in \x1b[31m</html>", "is no Tempo: it answers with text/html: <html>Log in \\x1b"),
    (400, TEXT, (RECORDED / "trace_bad.body").read_bytes(), "refuses the trace id: trace IDs can only contain hex"),
    (404, TEXT, b"404 page not found\n", "is no Tempo that has /api/v2/traces (404)"),
    (404, "text/html", b"<h1>404 Not Found</h1>nginx", "is no Tempo that has /api/v2/traces (404)"),
    (404, JSON, b'{"detail":"Not Found"}', "is no Tempo that has /api/v2/traces (404)"),
    (500, TEXT, b"error querying store", "is no Tempo that has /api/v2/traces (500): error querying store"),
    (401, TEXT, b"no org id", "refuses who asks (401): set TEMPO_TOKEN, or TEMPO_USER and TEMPO_PASSWORD"),
    (302, TEXT, b"https://elsewhere.example.org/", "redirects elsewhere (302)"),
    (200, PROTOBUF, b"\x0a" + b"\x00" * (1 << 20), "more than 0 MB: that is no trace of one request"),
]


@pytest.mark.parametrize(("status", "kind", "body", "said"), LIES)
def test_what_is_no_answer_of_tempo_is_one_sentence(status, kind, body, said):
    with a_tempo(kind, body, status) as url, pytest.raises(RemoteError) as caught:
        tempo.fetch(replace(connect(url, tempo.NAMES, NONE), most_bytes=1 << 19), TRACE)
    assert said in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>", "is no Loki (200)"),
        (b'{"status":"success","data":{"resultType":"matrix","result":[]}}', "is no Loki (200)"),
        (b'{"status":"error","data":null}', "is no Loki (200)"),
        (streams(line("soon", record("x"))), "of a time that nobody asked for: soon"),
        (streams(line(10**30, record("x"))), "of a time that nobody asked for"),
        (streams(line("9" * 400, record("x"))), "of a time that nobody asked for"),
        (streams(line("9" * 5_000, record("x"))), "of a time that nobody asked for"),
        (streams(line("\u0661" * 19, record("x"))), "of a time that nobody asked for"),
        (streams(line(AT, record("x", trace_id="e" * 32))), "answers with lines of another trace"),
        (
            streams({"stream": {}, "values": [[str(AT), "plain text"]]}),
            "answers with lines of another trace: plain text",
        ),
        (streams({"stream": {}, "values": [[AT, "x"]]}), "is no Loki (200)"),
        (b'{"status":"success","data":{"resultType":"streams","result":' + b"[" * 100_000, "is no Loki (200)"),
    ],
)
def test_what_is_no_answer_of_loki_is_one_sentence(body, said):
    with answering(lambda _: (200, JSON, body)) as url, pytest.raises(RemoteError, match=r".") as caught:
        loki.fetch(connect(url, loki.NAMES, NONE), TRACE, BEGAN - 60, BEGAN + 60)
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


def test_what_loki_refuses_is_said_in_its_words():
    with (
        answering(lambda _: (400, TEXT, b"the query time range exceeds the limit")) as url,
        pytest.raises(RemoteError, match=r"does not answer the query \(400\): the query time range exceeds the limit"),
    ):
        loki.fetch(connect(url, loki.NAMES, NONE), TRACE, 0, BEGAN)


def query_of(asked):
    return {name: values[0] for name, values in parse_qs(urlsplit(asked.path).query).items()}


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


def now_loki(*ids: str, known=TRACE):
    """Answer as a Loki that has lines of now: by the beginning of an id, and by a whole one."""

    def reply(asked):
        query = query_of(asked)
        at = int(query["end"]) - 70 * 10**9
        wanted = query["query"].partition("trace_id")[2].strip('="~.*')
        found = [each for each in (*ids, known) if each.startswith(wanted)]
        lines = [line(at, record("hello", trace_id=each), trace_id=each) for each in found]
        return 200, JSON, streams(*lines)

    return answering(reply)


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


HOSTILE = TRACE[:8] + '" or {a="b', TRACE[:8] + "/../../admin?x=1", TRACE + "\x1b]0;owned\x07", TRACE[:8] + "\x1b[31m"


def test_what_a_line_has_in_the_place_of_an_id_is_asked_of_nobody_and_drives_no_terminal(trace):
    asked = []

    def unknown(request):
        asked.append(request.path)
        return 200, JSON, UNKNOWN

    with now_loki(*HOSTILE) as logs, answering(unknown) as spans:
        result = trace(TRACE[:8], "--loki", logs, "--tempo", spans)
    assert result.exit_code == 0
    assert asked == [f"/api/v2/traces/{TRACE}"]
    assert not {"\x1b", "\x07"} & set(result.stdout)
    assert f"! {logs} has 4 lines with something else than an id as their trace's" in result.stdout


def test_where_no_line_has_a_proper_id_that_is_said(trace):
    with now_loki(known=HOSTILE[0]) as logs:
        result = trace(TRACE[:8], "--loki", logs)
    assert result.exit_code == 2
    assert "has an id that begins with" in result.stderr
    assert "has 1 line with something else than an id as its trace's" in result.stderr


@pytest.mark.parametrize("text", [*HOSTILE, "", "x", TRACE + "0"])
def test_a_query_is_made_of_nothing_but_an_id(text):
    with pytest.raises(ValueError, match="is no trace id"):
        loki.fetch(connect("http://127.0.0.1:9", loki.NAMES, NONE), text, 0, 1)


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


def test_a_store_that_is_slow_is_given_up():
    with speaking(drip) as url, pytest.raises(RemoteError, match=r"has not answered within 0\.3 s"):
        tempo.fetch(replace(connect(url, tempo.NAMES, NONE), seconds=0.3), TRACE)


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


# Of the Jaeger that tests/backends pins: ids in hexadecimal, kinds as numbers.
JAEGER = (RECORDED.parent / "jaeger-1.57" / "trace.json").read_bytes()


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


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, b"404 page not found", "is no Jaeger that has /api/v3/traces (404)"),
        (500, b"storage is away", "is no Jaeger that has /api/v3/traces (500): storage is away"),
        (200, b"<html>", "gave an answer that cannot be read"),
        (200, b'{"result":{"resourceSpans":{}}}', None),
        (200, JAEGER.replace(b"767fe7", b"eeeeee"), "answers with spans of another trace"),
    ],
)
def test_what_is_no_answer_of_jaeger_is_one_sentence(status, body, said):
    with answering(lambda _: (status, JSON, body)) as url:
        store = connect(url, jaeger.NAMES, NONE)
        if said is None:
            assert jaeger.fetch(store, TRACE).spans == ()
            return
        with pytest.raises(RemoteError) as caught:
            jaeger.fetch(store, TRACE)
    assert said in str(caught.value)


def test_a_jaeger_that_does_not_know_the_trace_says_so(trace):
    body = b'{"error":{"httpCode":404,"message":"trace not found"}}\n'
    with answering(lambda _: (404, JSON, body)) as spans:
        result = trace(TRACE, "--jaeger", spans)
    assert result.exit_code == 2
    assert "does not know it" in result.stderr
