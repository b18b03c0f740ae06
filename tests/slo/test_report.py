"""Every rendering says the same, stands alone, and shows foreign text as text."""

import io
import os
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from slo.budget import Budgets, BudgetState
from slo.evidence import endpoint_rows
from slo.gate import evaluate, write_reports
from slo.load import LoadFacts
from slo.report import figures, foreign
from slo.report.html import render_html
from slo.report.junit import render_junit
from slo.report.markdown import render_markdown
from slo.report.table import print_verdict
from slo.verdict import NOT_A_RELEASE, Load, Release, Source
from tests.slo.synthetic import BEGIN, MadeSample, SpanMaker, delayed, failing_charge

HOSTILE = "</td><script>alert(1)</script>|`x`[a](http://evil)\x1b[31m\u202e\x00&\"'{{7*7}}"


class Page(HTMLParser):
    """Collects what a browser would act upon."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.addresses, self.open, self.words = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in {"src", "href", "action", "srcset"}]
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def failed(run):
    """A run with slow searches and failed orders, its faults said."""
    run.spoil(0.05, "/api/products", delayed)
    run.spoil(0.3, "/api/orders", failing_charge)
    return evaluate(run.facts(faults=("product.search=delay:900ms@5%",)))


@pytest.fixture
def hostile(run):
    """A run in which every text that comes from outside is hostile."""
    index = next(i for i, sample in enumerate(run.samples) if sample.endpoint == "/api/products" and i > 1000)
    for at in range(index, index + 300):
        sample = replace(run.samples[at], endpoint=f"/{HOSTILE}", status=500, expected=False, duration=3.0)
        maker = SpanMaker(sample.trace_id)
        maker.statement(maker.entry(sample, error=HOSTILE), HOSTILE, HOSTILE, BEGIN, BEGIN + 1, error=HOSTILE)
        run.samples[at], run.spans[sample.trace_id] = sample, maker.spans
    facts = run.facts(
        url=f"http://{HOSTILE}",
        profile=HOSTILE,
        faults=(HOSTILE,),
        problems=(HOSTILE,),
        release=Release(HOSTILE, HOSTILE),
    )
    return evaluate(replace(facts, gate=replace(facts.gate, name=HOSTILE)))


def table_of(verdict):
    out = io.StringIO()
    print_verdict(verdict, out)
    return out.getvalue()


def every_rendering(judgement):
    return (
        table_of(judgement.verdict),
        render_markdown(judgement.verdict, judgement.evidence),
        " ".join(Page(render_html(judgement.verdict, judgement.evidence)).words),
        render_junit(judgement.verdict),
    )


def test_the_table_has_metric_actual_target_and_met(run):
    lines = table_of(evaluate(run.facts()).verdict).splitlines()
    assert lines[1].split()[:4] == ["metric", "actual", "target", "met"]
    rows = [re.split(r"\s{2,}", line.strip())[:4] for line in lines[3:6]]
    assert [(row[0], *row[2:]) for row in rows] == [
        ("p99-latency", "<= 800 ms", "yes"),
        ("error-rate", "< 1 %", "yes"),
        ("throughput", "> 100 requests/s", "yes"),
    ]


def test_every_rendering_names_the_figures_and_the_cause(failed):
    for text in every_rendering(failed)[:3]:
        assert "917 ms" in text
        assert "SELECT products" in text
        assert "payment.v1.PaymentService/Charge" in text


def test_every_rendering_says_that_a_run_with_faults_is_no_release_verdict(failed):
    for text in every_rendering(failed):
        assert NOT_A_RELEASE in text.replace("\n", " ")


def test_every_rendering_says_why_a_measurement_failed(run):
    for text in every_rendering(evaluate(run.facts(problems=("k6 crashed",)))):
        assert "k6 crashed" in text


def test_a_pipe_gets_no_colours(failed):
    assert "\x1b" not in table_of(failed.verdict)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("environment", "colours"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_gets_colours_unless_no_color_is_set(monkeypatch, failed, environment, colours):
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    out = Terminal()
    print_verdict(failed.verdict, out)
    assert ("\x1b[31m" in out.getvalue() or "\x1b[1;31m" in out.getvalue()) == colours


def test_the_page_loads_nothing_and_runs_nothing(failed):
    page = Page(render_html(failed.verdict, failed.evidence))
    assert not {"script", "link", "img", "iframe", "object", "form", "base"} & set(page.tags)
    assert all(address.startswith("#") for address in page.addresses)
    assert page.open == []


def test_the_page_draws_latency_the_distribution_and_waterfalls(failed):
    text = render_html(failed.verdict, failed.evidence)
    assert 'aria-label="Latency over time"' in text
    assert 'aria-label="Distribution of latencies"' in text
    assert text.count("<details") == 10
    assert text.count("target 800 ms") == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("goshop: its shop exited with 1:\n\tno port\r\n", "goshop: its shop exited with 1:\n        no port\n"),
        ("x:\n::add-mask::p", "x:\n\\x3a:add-mask::p"),
        ("x:\n  ::stop-commands::p", "x:\n  \\x3a:stop-commands::p"),
        ("x ##[add-mask]p", "x #\\x23[add-mask]p"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("http://[::1]:8000 and a::b", "http://[::1]:8000 and a::b"),
        ("x" * 1000, "x" * 1000),
    ],
)
def test_what_is_said_neither_drives_a_terminal_nor_commands_a_runner(text, said):
    assert foreign.spoken(text) == said


def test_foreign_text_does_not_become_html(hostile):
    text = render_html(hostile.verdict, hostile.evidence)
    page = Page(text)
    assert "script" not in page.tags
    assert page.open == []
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", text)
    assert "<script>alert(1)</script>" in "".join(page.words)


def test_foreign_text_does_not_become_markdown(hostile):
    text = render_markdown(hostile.verdict, hostile.evidence)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", text)
    outside_code = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text)
    assert "<script" not in outside_code
    assert "[a](" not in outside_code
    for row in re.findall(r"^\|.*$", text, re.MULTILINE):
        assert len(re.findall(r"(?<!\\)\|", row)) in {7, 8}


def test_foreign_text_does_not_break_junit(hostile):
    suite = ET.fromstring(render_junit(hostile.verdict))[0]  # noqa: S314 - it was written a line above
    assert suite.get("name").startswith("goshop gate </td><script>")


def test_foreign_text_does_not_drive_the_terminal(hostile):
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", table_of(hostile.verdict))


@given(st.text(alphabet=st.characters(codec=None, exclude_categories=()), max_size=80))
def test_any_text_makes_a_well_formed_attribute_and_one_harmless_line(text):
    attribute = foreign.attribute(text).encode("utf-8")
    ET.fromstring(b"<a b=" + attribute + b"/>")  # noqa: S314 - it was written a line above
    assert len(foreign.plain(text).splitlines()) <= 1
    assert foreign.plain(text).encode("utf-8") or not text
    assert "<" not in foreign.markdown(text)


def test_junit_has_a_case_for_each_objective_the_load_and_the_reconciliation(failed):
    suite = ET.fromstring(render_junit(failed.verdict))[0]  # noqa: S314 - it was written a line above
    names = [case.get("name") for case in suite.iter("testcase")]
    assert names == ["p99-latency", "error-rate", "throughput", "load", "reconciliation"]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("5", "2", "0")
    assert [case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None] == names[:2]


@pytest.mark.parametrize(
    ("state", "ignored", "kinds"),
    [("spent", "", ["failure"]), ("spent", "it mends the outage", ["skipped"]), ("left", "", [])],
)
def test_junit_says_of_a_budget_that_did_not_count_that_it_was_skipped(run, state, ignored, kinds):
    asked = BudgetState(slo="answered", objective=0.99, window="30d", state=state, reason="3 times what may be")
    budgets = Budgets("http://p", "2026-01-01T00:00:00Z", (asked,), ignored)
    verdict = evaluate(replace(run.facts(), budget=budgets)).verdict
    suite = ET.fromstring(render_junit(verdict))[0]  # noqa: S314 - it was written a line above
    case = suite.find("testcase[@name='error budget']")
    assert [child.tag for child in case] == kinds
    assert all(ignored in child.get("message") and asked.reason in child.get("message") for child in case)
    assert suite.get("skipped") == str(kinds.count("skipped"))


def test_a_window_is_said_from_its_start_to_its_end(run):
    judgement = evaluate(run.facts())
    verdict = structs.replace(judgement.verdict, source=Source("http://p", 900.0))
    said = f"from {verdict.started} to {verdict.ended}"
    assert said in render_markdown(verdict, judgement.evidence).replace("\\", "")


def test_markdown_is_short_enough_for_a_job_summary(failed):
    assert len(render_markdown(failed.verdict, failed.evidence)) < 8_000


def test_the_closed_models_page_speaks_of_coordinated_omission(run):
    load = LoadFacts(model="closed", begin=BEGIN + 5, seconds=30.0, users=((BEGIN, 75), (BEGIN + 36, 75)))
    found = evaluate(run.facts(load=load))
    assert "coordinated omission" in render_html(found.verdict, found.evidence)


def test_a_run_without_anything_is_rendered_as_well(run):
    run.samples, run.spans = [], {}
    for text in every_rendering(evaluate(run.facts(problems=("k6 is missing",)))):
        assert "k6 is missing" in text


def test_a_server_that_is_not_ours_is_rendered_as_well(run):
    found = evaluate(run.facts(spans=None, access_lines=None, server_requests=None))
    for text in every_rendering(found)[:3]:
        assert "not ours" in text


def test_four_reports_are_written_and_their_paths_returned(tmp_path, failed):
    paths = write_reports(tmp_path, failed.verdict, failed.evidence)
    assert [path.name for path in paths] == ["verdict.json", "report.md", "report.html", "junit.xml"]
    assert all(path.stat().st_size > 500 for path in paths)


@pytest.mark.skipif(not os.access("/dev/full", os.W_OK), reason="needs /dev/full")
@pytest.mark.parametrize("name", ["verdict.json", "report.md", "report.html", "junit.xml"])
def test_a_full_disk_is_an_error_of_the_operating_system(tmp_path, failed, name):
    (tmp_path / name).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_reports(tmp_path, failed.verdict, failed.evidence)


def test_the_same_facts_give_the_same_reports(run):
    first, second = evaluate(run.facts()), evaluate(run.facts())
    assert render_html(first.verdict, first.evidence) == render_html(second.verdict, second.evidence)
    assert msgspec.json.encode(first.verdict) == msgspec.json.encode(second.verdict)


def test_a_script_that_names_no_request_leaves_forty_endpoints_and_the_rest_together():
    samples = [MadeSample(f"{n:032x}", endpoint=f"/articles/{n % 100}") for n in range(250)]
    rows = endpoint_rows(samples, 0.8)
    assert (len(rows), sum(row.requests for row in rows)) == (41, 250)
    assert (rows[0].requests, rows[-1].endpoint) == (3, "60 others")


def test_what_is_known_of_the_load_generator_is_said():
    load = Load(1, 1.0, 0, 0.004, healthy=True, cpu_share=0.123, cpu_wait=0.0002)
    assert figures.generator(load) == (
        "client minus server P99 4.00 ms, k6 used 12.3 % of the CPU time, a request waited 0.20 ms for a CPU on average"
    )
    assert figures.generator(Load(1, 1.0, 0, None, healthy=True)) == "nothing is known of k6's own part"
