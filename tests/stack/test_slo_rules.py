"""What follows from specifications, before Prometheus' own tool: it reads the rules, and they do what is said of them.

The scenarios are files of `promtool test rules` under rules/, over the golden files of tests/slo/generation.
"""

import random
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from benchmarks.specification import many
from slo.generation.artefacts import prometheus_rules
from slo.generation.model import Group, Record
from slo.generation.yaml_text import rules_yaml
from slo.openslo.loading import parse_specification
from slo.openslo.promql import Matcher, Selector
from slo.openslo.re2 import regex_fault
from tests.slo.generation.specifications import PIECES, documents, loaded

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SCENARIOS = sorted((HERE / "rules").glob("*.yaml"))
RULES = [*ROOT.glob("slo/generated/rules/*.yaml"), *ROOT.glob("tests/slo/generation/golden/*/rules/**/*.yaml")]


def run(promtool: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([promtool, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)


def test_every_rule_that_is_committed_is_accepted(promtool):
    done = run(promtool, "check", "rules", *sorted(RULES))
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.stem)
def test_rules_do_what_is_said_of_them(scenario, promtool):
    done = run(promtool, "test", "rules", scenario)
    assert done.returncode == 0, done.stderr + done.stdout


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents)
def test_rules_of_whatever_is_valid_are_accepted(promtool, tmp_path, documents):
    path = tmp_path / "any.yaml"
    path.write_bytes(prometheus_rules(loaded(documents)))
    done = run(promtool, "check", "rules", path)
    assert done.returncode == 0, done.stderr + done.stdout


def test_a_regular_expression_that_the_loader_takes_is_one_of_prometheus(promtool, tmp_path):
    chance = random.Random(1)  # noqa: S311 - nothing secret; the same each time
    drawn = {"".join(chance.choices(PIECES, k=chance.randrange(1, 8))) for _ in range(40_000)}
    taken = sorted(text for text in drawn if not regex_fault(text))
    assert 1000 < len(taken) < len(drawn)
    rules = [
        Record("r", f"sum({Selector('m', (Matcher('l', '=~', text),))})", (("at", str(at)),))
        for at, text in enumerate(taken)
    ]
    path = tmp_path / "any.yaml"
    path.write_bytes(rules_yaml([Group("any", tuple(rules))], "any"))
    done = run(promtool, "check", "rules", path)
    assert done.returncode == 0, done.stderr + done.stdout


def test_rules_of_a_thousand_slos_are_accepted(promtool, tmp_path):
    (tmp_path / "many.yaml").write_bytes(prometheus_rules(parse_specification(many(1000), "many.yaml")))
    done = run(promtool, "check", "rules", tmp_path / "many.yaml")
    assert done.returncode == 0, done.stderr + done.stdout
    assert "28500 rules found" in done.stdout


def test_a_scenario_that_does_not_come_true_is_told(promtool, tmp_path):
    # Without this, a promtool that ran nothing would look like one that found nothing.
    text = (HERE / "rules" / "outage-and-recovery.yaml").read_text().replace("value: 1000", "value: 999")
    rules = ROOT / "tests" / "slo" / "generation" / "golden" / "bad-events" / "rules" / "gateway.yaml"
    path = tmp_path / "wrong.yaml"
    path.write_text(text.replace("../../slo/generation/golden/bad-events/rules/gateway.yaml", str(rules)))
    assert run(promtool, "test", "rules", path).returncode == 1
