"""`goshop trace`: found in a run's files, drawn for people, printed for machines, honest about what is missing."""

import io
import json
import struct
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from rich.console import Console

from goshop import trace as tracing
from goshop.cli import main
from goshop.run import RunFolder
from goshop.waterfall import BAR, bar, detail, in_order, print_trace
from telemetry import conventions as names
from telemetry.spans import SpanRecord

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OTHER = "4bf92f35ffffffffffffffffffffffff"
BEGIN = 1_700_000_000_000_000_000
MS = 1_000_000
KINDS = {"INTERNAL": 1, "SERVER": 2, "CLIENT": 3}


def span(number, parent, service, name, *, kind="INTERNAL", start=0.0, end=10.0, trace_id=TRACE, **fields: object):
    return SpanRecord(
        trace_id,
        f"{number:016x}",
        f"{parent:016x}" if parent else "",
        service,
        name,
        kind,
        BEGIN + int(start * MS),
        BEGIN + int(end * MS),
        **fields,
    )


def call(number, parent, service, method, *, status="OK", **fields: object):
    attributes = {names.RPC_METHOD: method, names.RPC_RESPONSE_STATUS_CODE: status}
    return span(number, parent, service, method, kind="CLIENT", attributes=attributes, **fields)


def entry(number=1, parent=0, **fields: object):
    attributes = {names.HTTP_REQUEST_METHOD: "GET", names.HTTP_RESPONSE_STATUS_CODE: 200}
    return span(number, parent, "gateway", "GET /api/products", kind="SERVER", end=100, attributes=attributes, **fields)


METHOD = "product.v1.ProductService/SearchProducts"
SPANS = [
    entry(),
    call(2, 1, "gateway", METHOD, start=5, end=95),
    span(3, 2, "product", METHOD, kind="SERVER", start=10, end=90, attributes={names.RPC_METHOD: METHOD}),
    span(
        4,
        3,
        "product",
        "SELECT products",
        kind="CLIENT",
        start=20,
        end=80,
        attributes={names.DB_COLLECTION_NAME: "products"},
    ),
]


def log(service, span_number, milliseconds, message, **fields: object):
    time = datetime.fromtimestamp(BEGIN / 1e9 + milliseconds / 1e3, UTC)
    return {
        names.LOG_TIMESTAMP: f"{time:%Y-%m-%dT%H:%M:%S.%f}Z",
        names.LOG_LEVEL: "info",
        names.LOG_MESSAGE: message,
        names.LOG_SERVICE: service,
        names.LOG_TRACE_ID: TRACE,
        names.LOG_SPAN_ID: f"{span_number:016x}",
        **fields,
    }


LINES = [log("product", 3, 85, "found 3"), log("gateway", 1, 1, "first")]


def write(run, spans, lines=()):
    for service in {span.service for span in spans}:
        request = ExportTraceServiceRequest()
        resource = request.resource_spans.add()
        resource.resource.attributes.add(key="service.name").value.string_value = f"goshop-{service}"
        scope = resource.scope_spans.add()
        for record in (span for span in spans if span.service == service):
            _encode(record, scope.spans.add())
        data = request.SerializeToString()
        run.span_file(service).write_bytes(struct.pack(">I", len(data)) + data)
    for line in lines:
        with run.log(line[names.LOG_SERVICE]).open("a") as file:
            file.write(json.dumps(line) + "\n")


def _encode(record, message):
    message.trace_id, message.span_id = bytes.fromhex(record.trace_id), bytes.fromhex(record.span_id)
    message.parent_span_id = bytes.fromhex(record.parent_id)
    message.name, message.kind = record.name, KINDS[record.kind]
    message.start_time_unix_nano, message.end_time_unix_nano = record.start_ns, record.end_ns
    for key, value in record.attributes.items():
        slot = message.attributes.add(key=key).value
        setattr(slot, "int_value" if isinstance(value, int) else "string_value", value)


@pytest.fixture
def kept(tmp_path):
    """A run with one trace in it."""
    run = RunFolder.create(tmp_path)
    write(run, SPANS, LINES)
    return run


@pytest.fixture
def invoke(tmp_path):
    def run_command(*arguments: str, **environ: str):
        return CliRunner().invoke(main, ["trace", *arguments, "--dir", str(tmp_path)], env=environ)

    return run_command


def drawn(spans, lines=(), width=160):
    out = io.StringIO()
    trace = tracing.Trace(TRACE, "run", spans, lines)
    print_trace(trace, Console(file=out, width=width, highlight=False))
    return out.getvalue()


def test_a_trace_is_drawn_across_services_with_its_log_lines_in_order_of_time(kept, invoke):
    result = invoke(TRACE)
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()]
    assert [row[0] for row in rows[3:7]] == ["gateway", "gateway", "product", "product"]
    assert [word for word in rows[5] if word in {"80.0", "ms"}] == ["80.0", "ms"]
    assert "table products" in result.stdout
    assert result.stdout.index("first") < result.stdout.index("found 3")
    assert str(kept.path) in result.stdout
    assert "missing" not in result.stdout


@pytest.mark.usefixtures("kept")
def test_no_color_and_pipes_get_no_escape_sequences(invoke):
    assert "\x1b" not in invoke(TRACE, NO_COLOR="1").stdout
    assert "\x1b" not in invoke(TRACE).stdout


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    "text", [TRACE[:6], TRACE[:7], TRACE.upper(), f"00-{TRACE}-00f067aa0ba902b7-01", f" {TRACE}\n"]
)
def test_an_id_may_be_given_as_people_find_it(invoke, text):
    result = invoke(text, "--json")
    assert json.loads(result.stdout)["trace_id"] == TRACE


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("text", ["", "xyz", TRACE + "0", "../../etc/passwd", "\x1b[31m"])
def test_what_is_no_trace_id_is_refused(invoke, text):
    result = invoke(text)
    assert result.exit_code == 2
    assert "is no trace id" in result.stderr
    assert "\x1b" not in result.stderr


def test_an_unknown_id_says_what_was_searched(kept, invoke):
    result = invoke("ffff")
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"no trace ffff: searched 4 files (spans/*.otlp, logs/*.log) of {kept.path}" in result.stderr


def test_where_nothing_ran_yet_the_answer_says_so(invoke):
    result = invoke("ffff")
    assert result.exit_code == 2
    assert "there is no run yet" in result.stderr


def test_a_beginning_that_several_traces_share_names_them(kept, invoke):
    write(kept, [*SPANS, entry(9, trace_id=OTHER)], LINES)
    result = invoke(TRACE[:8])
    assert result.exit_code == 2
    assert TRACE in result.stderr
    assert OTHER in result.stderr


def test_all_runs_are_searched_unless_one_is_named(kept, invoke, tmp_path):
    newer = tmp_path / "runs" / "29991231T235959-0000"
    (newer / "spans").mkdir(parents=True)
    assert invoke(TRACE).exit_code == 0
    assert invoke(TRACE, "--run", str(newer)).exit_code == 2
    assert invoke(TRACE, "--run", str(kept.path)).exit_code == 0
    assert invoke(TRACE, "--run", str(tmp_path / "none")).exit_code == 2


@pytest.mark.usefixtures("kept")
def test_machines_get_spans_and_log_lines_as_they_were_written(invoke):
    answer = json.loads(invoke(TRACE, "--json").stdout)
    assert [span["name"] for span in answer["spans"]] == [span.name for span in SPANS]
    assert answer["spans"][3]["end_ns"] == BEGIN + 80 * MS
    assert answer["logs"] == [LINES[1], LINES[0]]
    assert answer["missing"] == []


def test_half_a_line_of_a_killed_service_and_foreign_lines_are_passed_by(kept, invoke):
    with kept.log("product").open("a") as file:
        file.write(f'Traceback {TRACE}\n["{TRACE}"]\n{{"message": "{TRACE}"}}\n{{"trace_id": "{TRACE}", "mess')
    assert len(json.loads(invoke(TRACE, "--json").stdout)["logs"]) == 2


def test_a_line_with_something_else_than_an_id_is_passed_by(kept, invoke):
    with kept.log("product").open("a") as file:
        for text in (f"{TRACE}\x1b[31m", TRACE[:8], f"{TRACE[:8]}/../x"):
            file.write(json.dumps({"trace_id": text, "message": "x"}) + "\n")
        file.write("[" * 100_000 + f'"{TRACE}"\n')
    result = invoke(TRACE[:8], "--json")
    assert len(json.loads(result.stdout)["logs"]) == 2


@pytest.mark.parametrize("lost", [1, 2])
def test_a_parent_that_is_nowhere_is_noticed(lost):
    spans = [span for span in SPANS if span is not SPANS[lost]]
    assert SPANS[lost].span_id in {missing.span_id for missing in tracing.missing_spans(spans, [])}
    assert f"! missing: span {SPANS[lost].span_id}, the parent of product" in drawn(spans)


def test_a_call_that_was_answered_by_a_service_whose_spans_are_gone_names_the_service():
    [missing] = tracing.missing_spans(SPANS[:2], [])
    assert (missing.span_id, missing.service) == ("", "product")
    assert "a span of product, the other side of gateway" in drawn(SPANS[:2])


def test_a_call_that_never_arrived_misses_nothing():
    assert tracing.missing_spans([entry(), call(2, 1, "gateway", METHOD, status="UNAVAILABLE")], []) == []


def test_a_log_line_of_a_span_that_is_nowhere_is_noticed():
    [missing] = tracing.missing_spans(SPANS, [log("payment", 77, 5, "charged")])
    assert (missing.span_id, missing.service, missing.reason) == (f"{77:016x}", "payment", "logged: charged")


def test_a_caller_outside_the_shop_is_not_missing():
    assert tracing.missing_spans([entry(parent=99)], []) == []


def test_a_trace_that_left_only_log_lines_is_shown_with_a_warning():
    shown = drawn([], LINES[1:])
    assert "only log lines" in shown
    assert "first" in shown


def test_foreign_text_cannot_drive_the_terminal():
    evil = "\x1b]0;owned\x07\r\n\u202e[red]x[/red]"
    spans = [span(1, 0, "gateway", evil, status="ERROR", status_message=evil, attributes={names.ERROR_TYPE: evil})]
    shown = drawn(spans, [log("gateway", 1, 1, evil, **{names.LOG_EXCEPTION: f"Traceback\n{evil}"})])
    assert not {"\x1b", "\x07", "\r", "\u202e"} & set(shown)
    assert "[red]x[/red]" in shown


def test_an_access_line_says_method_path_status_and_time():
    fields = {names.LOG_METHOD: "GET", names.LOG_PATH: "/api/products", names.LOG_STATUS_CODE: 503}
    shown = drawn(SPANS, [log("gateway", 1, 100, "", **fields, **{names.LOG_DURATION_MS: 100.4})])
    assert "GET /api/products 503 in 100.4 ms" in shown


def test_children_stand_below_their_caller_in_order_of_start():
    spans = [entry(), span(2, 1, "a", "late", start=50), span(3, 1, "a", "early"), span(4, 3, "a", "deep")]
    ordered = sorted(spans, key=lambda s: s.start_ns)
    assert [(depth, s.name) for depth, s in in_order(ordered)] == [
        (0, "GET /api/products"),
        (1, "early"),
        (2, "deep"),
        (1, "late"),
    ]


def test_spans_in_a_circle_and_very_deep_traces_are_drawn_whole():
    circle = [entry(), span(2, 3, "a", "x"), span(3, 2, "a", "y")]
    assert {s.name for _, s in in_order(circle)} == {"GET /api/products", "x", "y"}
    deep = [span(n, n - 1, "a", "x") for n in range(1, 5001)]
    assert max(depth for depth, _ in in_order(deep)) == 4999


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, 100, "█" * BAR),
        (50, 100, " " * (BAR // 2) + "█" * (BAR // 2)),
        (100, 100, " " * (BAR - 1) + "▏"),
        (0, 0.001, "▏"),
    ],
)
def test_a_bar_shows_when_and_how_long_and_is_never_invisible(start, end, expected):
    assert bar(span(1, 0, "a", "x", start=start, end=end), BEGIN, BEGIN + 100 * MS) == expected


def test_bars_need_no_unicode():
    assert bar(SPANS[0], BEGIN, BEGIN + 100 * MS, ascii_only=True) == "#" * BAR


def test_a_failed_span_says_its_error():
    record = span(1, 0, "a", "x", status="ERROR", status_message="away", attributes={names.ERROR_TYPE: "57P05"})
    assert detail(record) == "error 57P05, ERROR away"
