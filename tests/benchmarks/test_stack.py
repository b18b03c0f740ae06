"""The committed figures of what the stack takes: a whole run's, and those that the front page shows."""

import json
import re
from pathlib import Path

from benchmarks import stack
from tests.backends.build import COMMANDS

README = (Path(__file__).parents[2] / "README.md").read_text()
STORED = json.loads((stack.RESULTS / "stack.json").read_text())


def test_everything_was_measured_under_a_load_that_was_answered() -> None:
    names = [part["name"] for part in STORED["parts"]]
    assert sorted(names) == sorted(["Loki", "Jaeger", "Alertmanager", stack.STEADY, "Promtail", "Prometheus"])
    assert int(STORED["machine"]["seconds"]) >= stack.SECONDS
    answered = int(STORED["machine"]["requests"].replace(",", ""))
    assert answered >= stack.ANSWERED * stack.RATE * stack.SECONDS
    assert all(0 < part["idle"] <= part["most"] for part in STORED["parts"])


def test_they_are_of_the_versions_that_are_pinned() -> None:
    for part in STORED["parts"]:
        if part["version"]:
            assert part["version"] == COMMANDS[part["name"].lower()].version


def test_the_table_says_what_was_measured() -> None:
    assert stack.markdown(STORED["parts"], STORED["machine"]) == (stack.RESULTS / "stack.md").read_text()


def test_the_front_page_shows_the_results_that_are_kept() -> None:
    shown = re.findall(r"^\| ([^|]+?) \| ([\d.]+) s \| (\d+) MB \|$", README, re.MULTILINE)
    kept = [(part["name"], f"{part['start']:.1f}", f"{part['most']:.0f}") for part in STORED["parts"]]
    total = ("all", f"{sum(p['start'] for p in STORED['parts']):.1f}", f"{sum(p['most'] for p in STORED['parts']):.0f}")
    assert shown == [*kept, total]
    containers, memory = stack.limits()
    assert f"{containers} containers, {memory:.2f} GB" in README
