"""The mark of a run in Grafana: what is written, and that nothing of it ever changes a verdict."""

import json
import time
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner
from msgspec import structs

from goshop.cli import main
from goshop.grafana import annotate, annotation, job_url
from goshop.own_shop import without_other_telemetry
from goshop.ports import reserve
from slo.gate import evaluate
from slo.openslo.loading import load_gate
from slo.verdict import Release
from tests.goshop.answering import answering, drip, speaking
from tests.goshop.plain import write_specification
from tests.goshop.replay import prometheus, replay
from tests.slo.synthetic import BEGIN, CHECKOUT, delayed, make_run

SITE = "https://grafana.example.org/team"
TOKEN = {"GRAFANA_TOKEN": "s3cret"}
JSON = "application/json"
WRITTEN = (200, JSON, b'{"message":"Annotation added","id":1}')


@pytest.fixture(scope="module")
def verdict():
    run = make_run(load_gate(CHECKOUT))
    run.spoil(0.2, "/api/products", delayed)
    return evaluate(run.facts(grafana=SITE, release=Release("2.0"), faults=("product.search=delay",))).verdict


class Page(HTMLParser):
    """What Grafana shows of an annotation: text and links."""

    def __init__(self, text) -> None:
        super().__init__()
        self.tags, self.links, self.text = set(), [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name == "href"]

    def handle_data(self, data):
        self.text += f"{data}\n"


def grafana(asked, reply=WRITTEN):
    return answering(lambda request: asked.append(request) or reply)


def test_the_run_is_marked_from_its_begin_to_its_end_by_a_request_that_grafana_takes(verdict):
    asked = []
    with grafana(asked) as site:
        annotate(f"{site}/", verdict, TOKEN)
    (request,) = asked
    assert (request.method, request.path) == ("POST", "/api/annotations")
    assert request.headers["authorization"] == "Bearer s3cret"
    assert request.headers["content-type"] == JSON
    body = json.loads(request.body)
    assert set(body) == {"time", "timeEnd", "tags", "text"}
    assert body["tags"] == ["goshop", "gate", "fail"]
    assert 0 <= body["time"] - BEGIN * 1000 < 5_000
    assert 30_000 <= body["timeEnd"] - body["time"] < 60_000


def test_its_text_says_the_verdict_and_links_to_where_to_look(verdict):
    page = Page(annotation(verdict, "https://ci.example.org/jobs/7")["text"])
    assert page.tags <= {"b", "br", "a"}
    assert "checkout 2.0: fail" in page.text
    assert "no release verdict: broken on purpose by product.search=delay" in page.text
    assert "p99-latency: " in page.text
    assert "https://ci.example.org/jobs/7" in page.links
    wanted = [link.url for link in verdict.links]
    assert [link for link in page.links if "ci.example" not in link] == [url for url in wanted if url in page.links]
    assert {link.url for link in verdict.links if not link.trace_id} <= set(page.links)
    assert sum(link.url in page.links for link in verdict.links if link.trace_id) == 6


def test_foreign_text_is_text_there_too(verdict):
    evil = '<script>alert(1)</script>"\x1b[31m'
    page = Page(annotation(structs.replace(verdict, release=Release(evil)), "javascript:alert(1)")["text"])
    assert page.tags <= {"b", "br", "a"}
    assert "<script>alert(1)</script>" in page.text
    assert not [link for link in page.links if link.startswith("javascript")]


def test_a_verdict_without_a_load_is_marked_at_a_moment(verdict):
    assert "timeEnd" not in annotation(structs.replace(verdict, ended=verdict.started))


@pytest.mark.parametrize(("site", "environ"), [("", TOKEN), (SITE, {}), (SITE, {"GRAFANA_TOKEN": ""})])
def test_without_an_address_or_a_token_nothing_is_sent_or_said(verdict, site, environ, capsys):
    annotate(site, verdict, environ)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (
            (401, JSON, b'{"message":"Invalid API key"}'),
            "refuses who asks (401): set GRAFANA_TOKEN to one that may write",
        ),
        ((403, JSON, b"{}"), "refuses who asks (403): set GRAFANA_TOKEN"),
        ((302, "text/html", b"/login"), "redirects elsewhere (302)"),
        ((500, JSON, b'{"message":"Failed to save annotation"}'), "does not take the annotation (500)"),
        ((200, "text/html", b"<html>Welcome \x1b[2J</html>"), "/api/annotations is no Grafana"),
        ((200, JSON, b"{}"), "/api/annotations is no Grafana"),
    ],
)
def test_a_refusal_is_a_warning(verdict, reply, said, capsys):
    with grafana([], reply) as site:
        annotate(site, verdict, TOKEN)
    told = capsys.readouterr().err
    assert "goshop: the run is not marked in Grafana: " in told
    assert said in told
    assert "s3cret" not in told
    assert "\x1b" not in told


def test_a_grafana_that_is_slow_or_dead_is_a_warning_in_time(verdict, capsys):
    begun = time.monotonic()
    with speaking(drip) as site:
        annotate(site, verdict, TOKEN, seconds=0.3)
    with reserve(1) as (port,):
        annotate(f"http://127.0.0.1:{port}", verdict, TOKEN)
    assert time.monotonic() - begun < 5
    slow, dead = capsys.readouterr().err.splitlines()
    assert "has not answered within 0.3 s" in slow
    assert "nothing answers at" in dead


@pytest.mark.parametrize("token", ["a b", "a\r\nX: y"])
def test_a_token_that_no_header_can_have_is_a_warning(verdict, token, capsys):
    annotate(SITE, verdict, {"GRAFANA_TOKEN": token})
    assert "GRAFANA_TOKEN holds characters that no header can have" in capsys.readouterr().err


@pytest.mark.parametrize("reply", [WRITTEN, (500, JSON, b"{}")])
@pytest.mark.parametrize("recording", ["canary", "broken"])
def test_the_command_marks_its_run_and_its_exit_code_is_the_verdict_s(tmp_path, recording, reply):
    asked = []
    gate = write_specification(tmp_path / "gate.yaml")
    with prometheus(replay(recording)) as url, grafana(asked, reply) as site:
        source = ("--source", "prometheus", "--prometheus", url, "--window", "10m")
        places = ("--dir", str(tmp_path / "runs"), "--out", str(tmp_path / "out"))
        done = CliRunner().invoke(main, ["gate", str(gate), *source, *places, "--grafana", site], env=TOKEN)
    expected, word = {"canary": (0, "pass"), "broken": (1, "fail")}[recording]
    assert done.exit_code == expected, done.stderr
    assert json.loads(asked[0].body)["tags"][2] == word
    assert ("not marked in Grafana" in done.stderr) == (reply is not WRITTEN)
    reports = "".join(path.read_text() for path in (tmp_path / "out").iterdir())
    assert "s3cret" not in reports + done.output


def test_the_job_that_keeps_the_reports_is_known_where_there_is_one():
    github = {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "a/b", "GITHUB_RUN_ID": "7"}
    assert job_url(github) == "https://github.com/a/b/actions/runs/7"
    assert job_url({"CI_JOB_URL": "https://gitlab.example.org/a/-/jobs/7"}) == "https://gitlab.example.org/a/-/jobs/7"
    assert not job_url({"GITHUB_REPOSITORY": "a/b"})


def test_services_of_a_run_do_not_get_what_the_gate_asks_others_with():
    ours = {f"{name}_TOKEN": "s3cret" for name in ("GRAFANA", "TEMPO", "LOKI", "JAEGER", "GOSHOP_PROMETHEUS")}
    assert without_other_telemetry({**ours, "PATH": "x"}) == {"PATH": "x"}
