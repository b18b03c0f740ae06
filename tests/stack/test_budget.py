"""`goshop slo budget` and `goshop gate --prometheus` against the real Prometheus: rules, raw series, and what is missing."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from slo.verdict import read_verdict
from tests.stack.counted import BUCKET, openmetrics, requests
from tests.stack.prometheus import backfill, blocks

ROOT = Path(__file__).parents[2]
CHECKOUT = ROOT / "slo" / "specs" / "checkout.yaml"
HOUR = 3600
# A window that a test can fill: its rules have the name of the window, so that all is as in 30 days.
WINDOW = "1d"


def goshop(*arguments: object, **variables: str):
    command = [sys.executable, "-m", "goshop", *map(str, arguments)]
    environ = {**os.environ, **variables}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environ)


@pytest.fixture
def specification(tmp_path):
    text = CHECKOUT.read_text().replace("duration: 30d", f"duration: {WINDOW}")
    # Alerts that look back for days have no place in a day.
    text = "\n".join(
        line for line in text.splitlines() if "alertPolicyRef: " not in line and "alertPolicies:" not in line
    )
    path = tmp_path / "checkout.yaml"
    path.write_text(text.replace("../../loadtests", str(ROOT / "loadtests")) + "\n")
    return path


@pytest.fixture
def remembered(start_prometheus, promtool, tmp_path):
    """Start a Prometheus that has scraped some counters each minute, up to `ago` s before now."""

    def start(counters, hours=26.0, ago=0.0):
        end = time.time() - ago
        text = openmetrics(counters, end - hours * HOUR, end, 60.0)
        return start_prometheus(history=blocks(promtool, text, tmp_path / "past"))

    return start


def shop(bad=0.002, slow=0.003, **how: Any):
    """Return 50 requests/s, of which a share is bad and another slow."""
    good = requests(lambda at: round(50 * at * (1 - bad)), slow=slow, **how)
    return good + requests(lambda at: round(50 * at * bad), slow=slow, status_code="500", **how)


def load_rules(promtool, server, specification, hours):
    """Let the server have recorded what the rules count for some hours; return all rules."""
    rules = yaml.safe_load(goshop("slo", "rules", specification).stdout)["groups"]
    path = specification.with_name("rules.yaml")
    path.write_text(yaml.safe_dump({"groups": [group for group in rules if "-increments-" in group["name"]]}))
    now = time.time()
    # A latency's total reads what was recorded of the bad ones.
    for _ in range(2):
        backfill(promtool, server, [path], (now - hours * HOUR, now), "5m")
    return [rule for group in rules for rule in group["rules"]]


def budgets(server, specification, *more: str):
    done = goshop("slo", "budget", specification, "--prometheus", server.url, "--json", *more)
    assert done.stderr == ""
    return done.returncode, {each["slo"]: each for each in json.loads(done.stdout)["slos"]}


def test_without_rules_the_budget_is_computed_from_the_raw_series(remembered, specification):
    code, found = budgets(remembered(shop()), specification)
    assert code == 0
    errors, slow = found["gateway-availability"], found["gateway-latency"]
    assert (errors["basis"], errors["state"]) == ("computed", "left")
    assert errors["left"] == pytest.approx(0.8, abs=0.01)
    assert errors["burn_rate"] == pytest.approx(0.2, abs=0.05)
    assert slow["left"] == pytest.approx(0.7, abs=0.01)
    assert errors["covered"] == pytest.approx(24 * HOUR, rel=0.01)


def test_where_the_rules_are_loaded_the_budget_is_theirs(remembered, specification, promtool):
    server = remembered(shop())
    rules = load_rules(promtool, server, specification, hours=25)
    code, found = budgets(server, specification)
    assert (code, {each["basis"] for each in found.values()}) == (0, {"recorded"})
    for name, left in (("gateway-availability", 0.8), ("gateway-latency", 0.7)):
        (shown,) = [
            rule["expr"]
            for rule in rules
            if rule.get("record") == f"slo:sli_error:ratio_rate{WINDOW}" and rule["labels"]["sloth_id"] == name
        ]
        assert found[name]["left"] == pytest.approx(left, abs=0.01)
        assert found[name]["left"] == pytest.approx(1 - server.value(shown) / 0.01, abs=0.005), "what a dashboard shows"


def test_rules_that_are_younger_than_the_raw_series_are_not_the_last_word(remembered, specification, promtool):
    server = remembered(shop())
    load_rules(promtool, server, specification, hours=2)
    _, found = budgets(server, specification)
    assert found["gateway-availability"]["basis"] == "computed"
    assert "the rules are younger (2." in found["gateway-availability"]["reason"]


def test_a_spent_budget_is_exit_6_and_freezes_the_release_before_any_load(remembered, specification, tmp_path):
    server = remembered(shop(bad=0.02))
    code, found = budgets(server, specification)
    assert (code, found["gateway-availability"]["state"], found["gateway-latency"]["state"]) == (6, "spent", "left")
    done = goshop(
        "gate", specification, "--prometheus", server.url, "--dir", tmp_path / "runs", "--out", tmp_path / "out"
    )
    verdict = read_verdict(tmp_path / "out" / "verdict.json")
    assert (done.returncode, verdict.verdict, verdict.load.requests) == (6, "frozen", 0)
    assert [each.slo for each in verdict.budget.spent] == ["gateway-availability"]
    assert "-100.0 %" in (tmp_path / "out" / "report.md").read_text()
    assert "starting" not in done.stderr, "no shop was brought up"


def test_series_that_ended_two_hours_ago_are_no_budget(remembered, specification):
    code, found = budgets(remembered(shop(), ago=2 * HOUR), specification)
    assert (code, {each["state"] for each in found.values()}) == (5, {"unknown"})


def test_a_bucket_that_is_gone_is_not_a_healthy_latency(remembered, specification):
    code, found = budgets(remembered(shop(edges=("0.25", "0.5", "1.0", "+Inf"))), specification)
    assert (code, found["gateway-latency"]["state"], found["gateway-availability"]["state"]) == (5, "unknown", "left")
    assert BUCKET in found["gateway-latency"]["reason"]


def test_a_few_bad_events_of_a_quiet_service_spends_nothing(remembered, specification):
    # Two minutes apart within the steps of 5: at most one of them falls between two steps.
    bad = (20 * HOUR, 21 * HOUR + 120, 22 * HOUR + 240)
    quiet = requests(lambda at: at // HOUR) + requests(lambda at: sum(at > each for each in bad), status_code="500")
    code, found = budgets(remembered(quiet), specification)
    errors = found["gateway-availability"]
    assert (code, errors["state"]) == (0, "left")
    assert errors["left"] < 0
    assert "fewer than 5 bad events spend no budget" in errors["reason"]


def test_what_is_asked_for_with_a_label_is_counted_alone(remembered, specification):
    server = remembered(shop(bad=0.02, environment="dev") + shop(bad=0.001, environment="prod", instance="b:1"))
    assert budgets(server, specification)[0] == 6
    code, found = budgets(server, specification, "--match", 'environment="prod"')
    assert (code, found["gateway-availability"]["left"]) == (0, pytest.approx(0.9, abs=0.01))
