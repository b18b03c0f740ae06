"""`goshop gate --baseline` as people use it: a real k6 on two real servers; the exit code is the answer.

The runs are those of `tests.goshop.beside`.
"""

import json
import re
from dataclasses import replace

import pytest
from msgspec import structs

from app import config
from goshop.backing import named_servers
from goshop.baseline import judge_beside, settle
from goshop.measurement import Job, WrongRequest
from goshop.pairing import planned_seconds
from goshop.run import RunFolder
from goshop.sides import logged_in_throughout
from goshop.target import ADMIN_VARIABLES
from loadtests import SMOKE
from slo.gate import RunFacts, evaluate
from slo.load import LoadFacts
from slo.openslo.loading import load_gate
from slo.verdict import Release
from tests.goshop.beside import RATE, cases
from tests.goshop.plain import goshop_gate
from tests.slo.published import assert_published

pytestmark = pytest.mark.timeout(240)


@pytest.mark.parametrize("name", cases())
def test_two_services_beside_each_other_lead_to_their_exit_code(beside_runs, name):
    done, verdict = beside_runs.found[name]
    case = cases()[name]
    assert done.returncode == case.code == verdict.exit_code, done.stdout + done.stderr
    assert case.said in done.stdout
    assert_published(json.loads((beside_runs.folder / name / "out" / "verdict.json").read_bytes()))


def test_what_was_found_is_in_the_verdict_pair_by_pair(beside_runs):
    found = beside_runs.found["slower"][1].baseline
    assert (found.regression, found.planned, len(found.pairs), found.commit) == ("yes", 6, 6, "")
    assert [pair.first for pair in found.pairs] == ["baseline", "candidate"] * 3
    for pair in found.pairs:
        assert pair.baseline.requests == pytest.approx(RATE, abs=10)
        assert pair.baseline.p99 < 0.28 < pair.candidate.p99
    assert (found.latency.margin, found.latency.alpha) == (0.05, 0.05)
    assert found.latency.low > 1.05


def test_where_so_few_pairs_cannot_tell_it_is_said_what_they_would_find(beside_runs):
    done, verdict = beside_runs.found["unsteady"]
    assert verdict.baseline.regression == "inconclusive"
    assert re.search(r"6 pairs find \+\d+ % or more in 80 % of the cases", done.stdout)


def test_a_comparison_that_failed_says_whose_failure_it_was(beside_runs):
    dying, brief = (beside_runs.found[name][1] for name in ("dying", "brief"))
    assert (dying.baseline.regression, brief.baseline.pairs) == (None, ())
    assert "the baseline: nothing answers at" in dying.load.problems[0]
    assert "the baseline: a run of 16" in brief.load.problems[0]


def test_of_a_run_that_was_counted_k6_keeps_what_it_said_and_not_every_request(beside_runs):
    pairs = beside_runs.folder / "slower" / "runs"
    assert len(list(pairs.glob("runs/*/pairs/*/summary.json"))) == 12
    assert list(pairs.glob("runs/*/pairs/*/samples.csv")) == []


def test_how_long_it_takes_is_told_before_the_load_starts(beside_runs):
    told = beside_runs.found["quicker"][0].stderr.splitlines()
    assert re.fullmatch(r"goshop: comparing with http://\S+ afterwards: 6 pairs of runs of 1 s, about 36 s", told[0])
    assert "goshop: pair 6 of 6, baseline" in told[-1]
    assert len([line for line in told if re.search(r"pair \d of 6, \w+: 2[12]\d requests, P99 [\d.]+ m?s", line)]) == 12


def test_the_report_shows_the_pairs(beside_runs):
    page = (beside_runs.folder / "slower" / "out" / "report.html").read_text()
    assert page.count('aria-label="Ratio of each pair') == 2
    assert "## Beside the baseline" in (beside_runs.folder / "slower" / "out" / "report.md").read_text()


@pytest.mark.parametrize(
    ("baseline", "pairs", "url", "said"),
    [
        (None, 10, "", "--pairs is for --baseline"),
        ("", None, "", "--baseline names nothing"),
        (" ", None, "", "--baseline names nothing"),
        ("HEAD^{/x}\n::add-mask::1", None, "", r"--baseline HEAD^{/x}\x0a::add-mask::1: too long, or with characters"),
        ("http://127.0.0.1:1/\x1b[31m", None, "http://127.0.0.1:1", r"--baseline http://127.0.0.1:1/\x1b[31m: too"),
        ("HEAD", 5, "", "5 pairs cannot be trusted: from 10 on"),
        ("HEAD", 1000, "", "100 are the most"),
        ("http://127.0.0.1:1", None, "", "and so must be what it is compared with: name it by --url"),
        ("ftp://127.0.0.1", None, "http://127.0.0.1:1", "for --baseline, got 'ftp://127.0.0.1'"),
        ("http://me:secret@127.0.0.1:1", None, "http://127.0.0.1:1", "--baseline holds credentials"),
        ("HEAD", None, "http://127.0.0.1:1", "is a revision, to compare the shop of this checkout with"),
        ("--output=x", None, "", "there is no such revision"),
        ("HEAD:README.md", None, "", "there is no such revision"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_starts(baseline, pairs, url, said):
    with pytest.raises(WrongRequest) as refused:
        settle(baseline, pairs, url, SMOKE)
    assert said in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_revision_that_is_none_is_refused_with_one_sentence(tmp_path):
    done = goshop_gate("--dir", tmp_path / "runs", "--baseline", "no-such-revision")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("goshop: --baseline no-such-revision: there is no such revision in ")
    assert not (tmp_path / "runs").exists()


def test_a_baseline_that_does_not_answer_is_found_before_the_load(tmp_path):
    path = tmp_path / "load.js"
    path.write_text("export default function () {}")
    places = ("--script", path, "--dir", tmp_path / "runs", "--out", tmp_path / "out")
    done = goshop_gate("--url", "http://127.0.0.1:1", "--baseline", "http://127.0.0.1:9", *places)
    assert done.returncode == 5
    assert "nothing answers at http://127.0.0.1:9: " in done.stderr
    assert json.loads((tmp_path / "out" / "verdict.json").read_text())["verdict"] == "error"


def test_tokens_of_a_shop_outlive_the_comparison_so_that_it_is_filled_once():
    for pairs in (10, 100):
        lasts = planned_seconds(pairs, SMOKE)
        settings = config.load("dev", environ=logged_in_throughout({"GOSHOP_DB__TIMEOUT": "2"}, lasts))
        assert settings.auth.token_ttl > 1.5 * lasts + 60
        assert settings.db.timeout == 2


def test_whatever_ends_a_comparison_leaves_what_was_judged_before(tmp_path, monkeypatch):
    """Here the folder of the run is gone, as on a disk that is full."""
    for name in ADMIN_VARIABLES:
        monkeypatch.setenv(name, "x")
    gate = load_gate(config.DEFAULT_FOLDER.parent / "slo" / "specs" / "checkout.yaml")
    job = Job(gate=gate, profile=SMOKE, release=Release(), url="http://127.0.0.1:1")
    load = LoadFacts(model="open", begin=0.0, seconds=30.0)
    judged = evaluate(RunFacts(gate=gate, samples=(), load=load, url=job.url, profile="", started=0.0, ended=1.0))
    judged = replace(judged, verdict=structs.replace(judged.verdict, verdict="pass"))
    opponent = settle("http://127.0.0.1:9", None, job.url, SMOKE)
    found = judge_beside(opponent, RunFolder(tmp_path / "gone"), tmp_path, job, judged).verdict
    assert (found.verdict, found.objectives) == ("error", judged.verdict.objectives)
    assert "the comparison with http://127.0.0.1:9 failed: " in found.load.problems[-1]
    assert "No such file or directory" in found.baseline.reason


def test_two_shops_do_not_share_servers_that_somebody_has_named(monkeypatch):
    monkeypatch.setenv("GOSHOP_REDIS__URL", "redis://127.0.0.1:1")
    with pytest.raises(WrongRequest, match="two shops cannot share the servers that GOSHOP_REDIS__URL name"):
        settle("HEAD", None, "", SMOKE)


def test_a_server_that_the_file_names_is_not_blamed_on_a_variable(monkeypatch, tmp_path):
    (tmp_path / "dev.yaml").write_text("db: {host: 127.0.0.1}\n")
    monkeypatch.setattr(config, "DEFAULT_FOLDER", tmp_path)
    assert named_servers({"GOSHOP_REDIS__URL": "redis://x"}) == ["db.host in config/dev.yaml", "GOSHOP_REDIS__URL"]


def test_without_a_baseline_there_is_nothing_to_compare():
    assert settle(None, None, "", SMOKE) is None
