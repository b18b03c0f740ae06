"""A release beside its baseline: what counts as a run, what the verdict becomes, and what every rendering says of it."""

import io
import math
import re
import xml.etree.ElementTree as ET
from html import unescape
from itertools import pairwise
from random import Random

import msgspec
import pytest

from slo.comparison import (
    DECIDED,
    Against,
    compare_pairs,
    design_for,
    not_compared,
    recorded_run,
    turns,
    with_baseline,
)
from slo.gate import evaluate
from slo.load import LoadFacts
from slo.pairs import STRICT, WITH_MARGIN, Pair, Run, TooFewPairsError
from slo.report.annotations import annotations
from slo.report.html import render_html
from slo.report.junit import render_junit
from slo.report.markdown import render_markdown
from slo.report.pairs_chart import HEIGHT, pairs_charts
from slo.report.table import print_verdict
from slo.verdict import PRECEDENCE, encode_verdict
from tests.slo.published import assert_published
from tests.slo.synthetic import BEGIN, MadeSample, delayed, failing_charge

AGAINST = Against(name="v1.4", commit="4bf92f3577b34da6a3ce929d0e0e4736aabbccdd", profile="smoke")
HOSTILE = "v1<script>alert(1)</script>\x1b[31m|`::error::"


def made_run(dice, factor=1.0, slow=0.0, noise=0.02):
    scale = 0.02 * factor * math.exp(dice.gauss(0, noise))
    return Run.of(scale * (1 + dice.expovariate(1)) + 0.5 * (dice.random() < slow) for _ in range(2000))


def made_pairs(count=10, factor=1.0, slow=0.0, noise=0.02):
    dice = Random(7)  # noqa: S311 - the same runs every time
    return [Pair(made_run(dice, noise=noise), made_run(dice, factor, slow, noise)) for _ in range(count)]


@pytest.fixture(scope="module")
def regressed():
    return compare_pairs(made_pairs(factor=1.2), AGAINST)


@pytest.fixture(scope="module")
def equal():
    return compare_pairs(made_pairs(), AGAINST)


@pytest.fixture(scope="module")
def undecided():
    return compare_pairs(made_pairs(noise=0.5), AGAINST)


def sample(number, status=200, *, warmup=False):
    return MadeSample(f"{number:032x}", status=status, warmup=warmup)


def facts(drops=()):
    return LoadFacts(model="open", begin=BEGIN, seconds=3.0, drops=drops)


def test_a_run_is_what_was_judged_and_a_failed_request_is_slower_than_any():
    samples = [sample(number) for number in range(300)]
    samples[5:8] = [sample(5, 500), sample(6, 0), sample(7, warmup=True)]
    run = recorded_run(samples, facts(drops=((BEGIN + 1, 2.5), (BEGIN + 2, 1.5))))
    assert len(run.ranked) == 303
    assert run.above(10.0) == 6


def test_a_run_of_few_requests_is_none():
    with pytest.raises(TooFewPairsError, match="at least 200"):
        recorded_run([sample(number) for number in range(199)], facts())


def test_ten_pairs_are_decided_strictly_six_with_a_margin_and_five_not_at_all():
    assert [design_for(count) for count in (6, 9, 10, 100)] == [WITH_MARGIN, WITH_MARGIN, STRICT, STRICT]
    for count in (-1, 0, 1, 5, 101):
        with pytest.raises(ValueError, match="cannot be trusted"):
            design_for(count)


def test_neither_side_is_always_the_first():
    assert [turns(number)[0] for number in range(4)] == ["baseline", "candidate", "baseline", "candidate"]
    assert all(set(turns(number)) == {"baseline", "candidate"} for number in range(4))


def test_twenty_per_cent_more_are_a_regression(regressed):
    assert (regressed.regression, regressed.latency.regression) == ("yes", "yes")
    assert regressed.latency.ratio == pytest.approx(1.2, rel=0.05)
    assert [pair.first for pair in regressed.pairs[:2]] == ["baseline", "candidate"]
    assert regressed.pairs[0].baseline.requests == 2000
    assert regressed.pairs[0].baseline.p99 < regressed.pairs[0].candidate.p99


def test_a_release_that_answers_quickly_with_errors_is_a_regression():
    pairs = [Pair(pair.baseline, Run.of([*pair.candidate.ranked[:-30], *[math.inf] * 30])) for pair in made_pairs()]
    found = compare_pairs(pairs, AGAINST)
    assert (found.regression, found.latency, found.slow.regression) == ("yes", None, "yes")
    assert found.pairs[0].candidate.p99 is None


def test_a_baseline_without_good_answers_is_nothing_to_compare_with():
    lost = Run.of([0.1] * 190 + [math.inf] * 10)
    found = compare_pairs([Pair(lost, lost)] * 10, AGAINST)
    assert (found.regression, found.latency, found.slow, found.slow_above) == ("inconclusive", None, None, None)


def spoilt(run, word):
    if word == "fail":
        run.spoil(0.2, "/api/products", delayed)
    if word == "inconclusive":
        run.spoil(0.07, "/api/orders", failing_charge)
    return evaluate(run.facts(problems=("k6 crashed",) if word == "error" else ()))


@pytest.mark.parametrize("word", ["error", "fail", "inconclusive", "pass"])
def test_the_verdict_is_what_comes_first_in_the_precedence(run, word, regressed, equal, undecided):
    judgement = spoilt(run, word)
    assert judgement.verdict.verdict == word
    found = {each.regression: with_baseline(judgement, each).verdict for each in (regressed, equal, undecided)}
    expected = {"yes": "regression", "no": word, "inconclusive": "inconclusive"}
    for regression, verdict in found.items():
        assert verdict.verdict == min(word, expected[regression], key=PRECEDENCE.index)
        assert verdict.baseline is not None
    assert (word in DECIDED) == (found["yes"].verdict == word)


def test_a_comparison_that_failed_is_a_measurement_that_failed(run):
    problem = "the comparison with v1.4 failed: the baseline: k6 crashed"
    found = with_baseline(evaluate(run.facts()), not_compared(AGAINST, "the baseline: k6 crashed"), problem).verdict
    assert (found.verdict, found.exit_code, found.load.healthy) == ("error", 5, False)
    assert found.load.problems == (problem,)
    assert found.baseline.regression is None


def test_every_comparison_is_as_published(run, regressed, equal, undecided):
    judgement = evaluate(run.facts())
    lost = compare_pairs([Pair(*[Run.of([math.inf] * 200)] * 2)] * 6, AGAINST)
    for baseline in (regressed, equal, undecided, lost, not_compared(AGAINST, "not compared: no luck")):
        verdict = with_baseline(judgement, baseline).verdict
        assert_published(msgspec.json.decode(encode_verdict(verdict)))


def renderings(judgement):
    out = io.StringIO()
    print_verdict(judgement.verdict, out)
    return (
        out.getvalue(),
        render_markdown(judgement.verdict, judgement.evidence).replace("\\", ""),
        unescape(re.sub(r"<[^>]*>", " ", render_html(judgement.verdict, judgement.evidence))),
        render_junit(judgement.verdict),
    )


def test_every_rendering_says_by_how_much(run, regressed):
    judgement = with_baseline(evaluate(run.facts()), regressed)
    change = f"{(regressed.latency.ratio - 1) * 100:+.1f}"
    for text in renderings(judgement):
        assert change in text
        assert "v1.4 (4bf92f3577b3)" in text


def test_junit_has_a_case_for_the_comparison(run, regressed, equal, undecided):
    judgement = evaluate(run.facts())
    for found, kinds in ((regressed, ["failure"]), (undecided, ["error"]), (equal, [])):
        suite = ET.fromstring(render_junit(with_baseline(judgement, found).verdict))[0]  # noqa: S314 - ours
        case = suite.find("testcase[@name='baseline']")
        assert [child.tag for child in case] == kinds


def test_what_was_not_compared_is_said_with_its_reason_and_skipped_in_junit(run):
    judgement = with_baseline(evaluate(run.facts()), not_compared(AGAINST, "not compared: no luck"))
    assert all("not compared: no luck" in text for text in renderings(judgement))
    suite = ET.fromstring(render_junit(judgement.verdict))[0]  # noqa: S314 - ours
    assert [child.tag for child in suite.find("testcase[@name='baseline']")] == ["skipped"]
    assert suite.get("skipped") == "1"


def test_too_few_pairs_are_said_with_what_they_would_find(run, undecided):
    judgement = with_baseline(evaluate(run.facts()), undecided)
    assert judgement.verdict.exit_code == 3
    for text in renderings(judgement)[:3]:
        assert "the pairs can't decide" in text
        assert re.search(r"10 pairs find \+\d+ % or more", text)


def test_annotations_say_a_regression_as_an_error_and_what_is_undecided_as_a_warning(run, regressed, undecided, equal):
    judgement = evaluate(run.facts())
    found = [
        list(annotations(with_baseline(judgement, each).verdict, "x.yaml")) for each in (regressed, undecided, equal)
    ]
    assert found[0][0].startswith("::error file=x.yaml,title=checkout%3A regression::against v1.4")
    assert found[1][0].startswith("::warning file=x.yaml,title=checkout%3A inconclusive::against v1.4")
    assert found[2][0].startswith("::notice title=checkout%3A pass::Every objective is met, and nothing is worse")


def test_foreign_text_stays_text(run):
    against = Against(name=HOSTILE, profile=HOSTILE)
    judgement = with_baseline(evaluate(run.facts()), compare_pairs(made_pairs(6), against))
    assert "<script" not in render_html(judgement.verdict, judgement.evidence)
    assert "<script" not in render_markdown(judgement.verdict, judgement.evidence)
    assert "\x1b" not in "".join(renderings(judgement))
    assert not any("\x1b" in line or "\n" in line for line in annotations(judgement.verdict, "x.yaml"))


def test_the_drawing_has_a_dot_for_each_pair_within_its_frame(regressed):
    for chart in pairs_charts(regressed):
        assert len(chart.dots) == 10
        assert all(0 < dot.y < HEIGHT for dot in chart.dots)
        assert chart.band.y <= chart.mean <= chart.band.y + chart.band.height
        assert chart.limit is None
        places = sorted(tick.at for tick in chart.ticks_y)
        assert all(after - before >= 18 for before, after in pairwise(places))
    latency, _ = pairs_charts(regressed)
    assert latency.band.y + latency.band.height < latency.same, "above is worse, and the whole band lies above"


def test_a_margin_is_drawn_where_there_is_one():
    assert [chart.limit is None for chart in pairs_charts(compare_pairs(made_pairs(6), AGAINST))] == [False, True]


def test_what_cannot_be_compared_is_said_in_words(run):
    lost = compare_pairs([Pair(*[Run.of([math.inf] * 200)] * 2)] * 6, AGAINST)
    wild = compare_pairs(made_pairs(6, noise=4.0), AGAINST)
    for found, said in (
        (lost, "P99: falls on requests without a good answer"),
        (wild, "6 pairs find nothing below ten times"),
    ):
        texts = renderings(with_baseline(evaluate(run.facts()), found))
        assert all(said in text for text in texts[:3])
        assert not re.search(r"\binf\b|\d{5,} ?%", texts[3])
