"""`goshop trace`: found in a run's files, drawn for people, printed for machines, honest about what is missing."""

import io
import json

import pytest
from click.testing import CliRunner
from rich.console import Console

from goshop import trace as tracing
from goshop.cli import main
from goshop.run import RunFolder
from goshop.waterfall import BAR, bar, detail, in_order, print_trace
from telemetry import conventions as names
from tests.goshop.made_traces import (
    BEGIN,
    LINES,
    METHOD,
    MS,
    OTHER,
    SPANS,
    TRACE,
    call,
    entry,
    log,
    request,
    span,
    write,
)


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


def test_what_no_number_of_json_is_becomes_text(kept, invoke):
    with kept.log("product").open("a") as file:
        file.write(f'{{"trace_id": "{TRACE}", "a": NaN, "b": [-Infinity, 1e999, 1.5]}}\n')
    spans = [entry(attributes={"x": float("nan"), "y": float("inf"), "z": 0.5})]
    write(kept, spans)

    def refuse(constant):
        raise AssertionError(constant)

    answer = json.loads(invoke(TRACE, "--json").stdout, parse_constant=refuse)
    assert {"a": "NaN", "b": ["-Infinity", "inf", 1.5], "trace_id": TRACE} in answer["logs"]
    assert {"x": "nan", "y": "inf", "z": 0.5} in [span["attributes"] for span in answer["spans"]]


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


def test_a_request_that_was_answered_by_a_service_whose_spans_are_gone_is_noticed():
    [missing] = tracing.missing_spans([request()], [])
    assert (missing.span_id, missing.service) == ("", "")
    assert missing.reason == "the other side of k6: GET /api/products/{id}"
    assert tracing.missing_spans([request(), entry(2, 1)], []) == []
    assert tracing.missing_spans([request(status=None)], []) == []


def test_a_line_that_says_that_its_span_is_not_recorded_misses_none():
    lines = [log("payment", 77, 5, "charged", **{names.LOG_TRACE_FLAGS: flags}) for flags in ("00", "02")]
    assert tracing.missing_spans(SPANS, lines) == []
    assert len(tracing.missing_spans(SPANS, [log("payment", 77, 5, "x", **{names.LOG_TRACE_FLAGS: "01"})])) == 1


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


def test_what_is_very_deep_is_indented_no_further():
    shown = drawn([span(n, n - 1, "a", "x") for n in range(1, 501)])
    assert "[499] x" in shown
    assert len(shown) < 500 * 250


def test_a_trace_lasts_as_long_as_its_root():
    late = span(5, 3, "product", "x", start=3_000, end=3_010)
    assert "100.0 ms  5 spans" in drawn([*SPANS, late])
    assert "3000.0 ms  2 spans" in drawn([SPANS[2], span(6, 5, "product", "x", start=3_000, end=3_010)])


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


def test_a_trace_that_left_only_log_lines_is_shown_with_a_warning(tmp_path, invoke):
    write(RunFolder.create(tmp_path), [], LINES[1:])
    shown = invoke(TRACE).stdout
    assert "! no span of this trace was written: only log lines" in shown
    assert "first" in shown
