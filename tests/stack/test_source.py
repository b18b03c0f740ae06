"""`goshop gate --source prometheus` against the real Prometheus: every count is exact, and what is missing is never a pass."""

import asyncio
import json
import os
import subprocess
import sys
import time
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from loadtests import find_k6
from slo.verdict import read_verdict
from tests.loadtests.stand_in import StandIn, served
from tests.slo.published import assert_published
from tests.stack.counted import BUCKET, COUNT, ROUTE, TARGET, Counter, openmetrics, requests, up
from tests.stack.prometheus import blocks

ROOT = Path(__file__).parents[2]
SCRAPE = 15.0
WINDOW = 900
# The scrapes begin long before the window does, and end with it.
HISTORY = 1800
OTHER = {"instance": "b:1"}


def every_third_fails():
    statuses = cycle((200, 200, 500))

    async def answers(_request):
        await asyncio.sleep(0.02)
        return next(statuses), {}, {}

    return answers


@pytest.fixture
def specification(tmp_path):
    text = (ROOT / "slo" / "specs" / "checkout.yaml").read_text().replace("../../loadtests", str(ROOT / "loadtests"))
    path = tmp_path / "canary.yaml"
    # What a canary is asked for is its customers' choice.
    path.write_text(text.replace("> 100 requests/s", "> 5 requests/s"))
    return path


@pytest.fixture
def judge(start_prometheus, promtool, tmp_path, specification):
    """Let a Prometheus have scraped some counters for half an hour and judge the last 15 minutes."""

    def run(counters, *more: object, window=f"{WINDOW}s", end: float | None = None, step=SCRAPE):
        until = int(time.time())
        text = openmetrics(counters, until - HISTORY, until, step)
        server = start_prometheus(history=blocks(promtool, text, tmp_path / "past"))
        asked = ("--source", "prometheus", "--prometheus", server.url, "--window", window, "--end", end or until)
        command = [sys.executable, "-m", "goshop", "gate", specification, *asked, *more]
        command += ["--dir", tmp_path / "runs", "--out", tmp_path / "out"]
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, check=False, cwd=ROOT, env=dict(os.environ)
        )
        verdict = read_verdict(tmp_path / "out" / "verdict.json")
        assert done.returncode == verdict.exit_code, done.stderr + done.stdout
        return verdict

    return run


def shop(bad=0.002, slow=0.003, rate=10, **how: Any):
    good = requests(lambda at: round(rate * at * (1 - bad)), slow=slow, **how)
    return [*good, *requests(lambda at: round(rate * at * bad), slow=slow, status_code="500", **how), *up(**how)]


def outcomes(verdict):
    return {result.name: result.outcome for result in verdict.objectives}


def counts(verdict, name):
    return next((result.total, result.bad) for result in verdict.objectives if result.name == name)


def test_a_healthy_canary_passes_and_every_request_of_the_window_is_counted_once(judge, tmp_path):
    verdict = judge(shop(rate=20))
    assert (verdict.verdict, verdict.load.problems) == ("pass", ())
    assert counts(verdict, "error-rate") == (20 * WINDOW, 0.002 * 20 * WINDOW)
    assert counts(verdict, "p99-latency") == (20 * WINDOW, pytest.approx(0.003 * 20 * WINDOW, abs=2))
    assert len(verdict.objectives[0].blocks) == 16
    assert 0.25 < verdict.objectives[0].actual < 0.8
    assert_published(json.loads((tmp_path / "out" / "verdict.json").read_bytes()))


def test_errors_and_slowness_are_missed_objectives(judge):
    assert outcomes(judge(shop(bad=0.03))) == {"p99-latency": "met", "error-rate": "missed", "throughput": "met"}


def test_the_canary_alone_is_judged_where_a_label_says_which_it_is(judge):
    both = shop(bad=0.0005, rate=100, release="stable", **OTHER) + shop(bad=0.03, rate=5, release="canary")
    verdict = judge(both, "--match", 'release="canary"')
    assert (verdict.verdict, counts(verdict, "error-rate")[0]) == ("fail", 5 * WINDOW)
    assert verdict.source.matchers == ('release="canary"',)


def test_a_restart_inside_the_window_loses_no_request_and_is_said(judge):
    begun = HISTORY - WINDOW / 2
    verdict = judge(requests(lambda at: 20 * at if at < begun else 20 * (at - begun)) + up())
    # What came between the last scrape and the end is nobody's to know.
    assert counts(verdict, "error-rate")[0] == pytest.approx(20 * WINDOW, abs=20 * SCRAPE)
    assert "shop a:1 began anew in the window" in verdict.source.remarks


def test_the_first_error_of_a_route_is_counted_though_its_series_begins_with_it(judge):
    late = HISTORY - 300
    first = requests(lambda at: 400 if at > late else None, status_code="500")
    assert counts(judge([*requests(lambda at: 10 * at), *up(), *first]), "error-rate") == (10 * WINDOW + 400, 400)


def test_what_a_target_had_counted_before_it_was_found_is_not_this_windows(judge):
    late = HISTORY - 300
    found = requests(lambda at: 1e6 + at if at > late else None, **OTHER)
    verdict = judge([*shop(), *found, *up(lambda at: 1 if at > late else None, **OTHER)])
    assert counts(verdict, "error-rate")[0] == pytest.approx(10 * WINDOW + 300, abs=20)


def test_a_time_without_scrapes_is_no_measurement(judge):
    def gap(at):
        return 10 * at if not HISTORY - 500 < at < HISTORY - 300 else None

    verdict = judge(requests(gap) + up(lambda at: 0 if gap(at) is None else 1))
    assert (verdict.verdict, verdict.load.problems) == (
        "error",
        ("shop a:1 was not scraped for 210 s, 390 s into the window",),
    )


def test_a_target_that_does_not_answer_any_more_is_no_measurement(judge):
    until = HISTORY - 200
    dying = requests(lambda at: at if at < until else None, **OTHER)
    verdict = judge([*shop(), *dying, *up(lambda at: 1 if at < until else 0, **OTHER)])
    assert verdict.load.problems == ("shop b:1 did not answer the scrapes of the window's last 210 s",)


def test_a_target_that_was_taken_away_is_said(judge):
    until = HISTORY - 200
    leaving = requests(lambda at: at if at < until else None, **OTHER)
    verdict = judge([*shop(rate=20), *leaving, *up(lambda at: 1 if at < until else None, **OTHER)])
    assert (verdict.verdict, verdict.source.remarks[1:]) == ("pass", ("shop b:1 was gone before the window's end",))


@pytest.mark.parametrize(
    ("counters", "said"),
    [
        (up(), "there is no series http_request_duration_seconds_count"),
        ([*requests(lambda at: 10 * at, edges=("0.25", "1.0", "+Inf")), *up()], "nobody knows how many were slow"),
        ([*requests(lambda _: 7), *up()], "no request was counted in the window"),
        (
            [*shop(), *requests(lambda at: at, edges=("1.0", "+Inf"), **OTHER), *up(**OTHER)],
            "has no bucket up to the limit: nobody knows how many were slow",
        ),
        ([Counter(COUNT, TARGET | ROUTE, lambda at: -at), *up()], "is no counter: it was -"),
        (
            [
                Counter(COUNT, TARGET | ROUTE, lambda at: at),
                Counter(BUCKET, TARGET | ROUTE | {"le": "0.8"}, lambda at: 2 * at),
                *up(),
            ],
            "more good events were counted than events",
        ),
    ],
)
def test_what_is_missing_or_no_counter_is_never_a_pass(judge, counters, said):
    verdict = judge(counters)
    assert verdict.verdict == "error"
    assert any(said in problem for problem in verdict.load.problems), verdict.load.problems


def test_a_window_that_begins_before_the_series_is_no_measurement(judge):
    verdict = judge(shop(), window="40m")
    assert verdict.verdict == "error"
    assert "the series begin 600 s after the window does: it must be shorter, or end later" in verdict.load.problems[0]


def test_too_short_a_window_for_its_scrapes_is_undecided(judge):
    verdict = judge(shop(rate=100), window="10m", step=60.0)
    assert (verdict.verdict, verdict.load.problems) == ("inconclusive", ())
    assert "600 s are too short to pass: 720 s are needed, two scrapes for each block" in verdict.objectives[0].reason


def test_less_traffic_than_the_target_is_undecided_and_not_missed(judge):
    assert outcomes(judge(shop(rate=3, bad=0, slow=0)))["throughput"] == "inconclusive"


def test_a_k6_that_pushes_is_counted_to_the_last_request(start_prometheus, tmp_path):
    page = (ROOT / "docs" / "gate.md").read_text()
    load, gate = tmp_path / "load.js", tmp_path / "gate.yaml"
    load.write_text(page.split("```javascript\n", 1)[1].split("```", 1)[0])
    gate.write_text(page.split("```yml\n", 1)[1].split("```", 1)[0])
    server = start_prometheus(flags=["--web.enable-remote-write-receiver"])
    with served(StandIn(every_third_fails())) as service:
        offered = ("--vus", "4", "--duration", "12s", "--out", "experimental-prometheus-rw", "--tag", "instance=a")
        environ = {
            **os.environ,
            "BASE_URL": service.url,
            "K6_PROMETHEUS_RW_SERVER_URL": f"{server.url}/api/v1/write",
        }
        quiet = ("-q", "--no-usage-report", "--address", "", "--summary-export", str(tmp_path / "summary.json"))
        subprocess.run([find_k6(), "run", *quiet, *offered, load], env=environ, check=True, capture_output=True)
    # The window is that of the load, however late what comes next is.
    ended = time.time()
    command = [sys.executable, "-m", "goshop", "gate", gate, "--source", "prometheus", "--prometheus", server.url]
    command += ["--window", "20s", "--end", f"{ended:.3f}", "--dir", tmp_path / "runs", "--out", tmp_path / "out"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, cwd=ROOT)
    # 5: so short a load begins within its window. What counts here is that nothing of it is lost.
    assert done.returncode == 5, done.stderr + done.stdout
    verdict = read_verdict(tmp_path / "out" / "verdict.json")
    sent = json.loads((tmp_path / "summary.json").read_text())["metrics"]["http_reqs"]["count"]
    assert counts(verdict, "slow")[0] == counts(verdict, "errors")[0] == sent, done.stdout
    assert counts(verdict, "errors")[1] == pytest.approx(sent / 3, abs=1)
