"""What Sloth's dashboards read is there (https://grafana.com/grafana/dashboards/14348)."""

from pathlib import Path

import pytest

from slo.generation.alerts import Sites
from slo.generation.artefacts import groups_of
from slo.openslo.loading import load_specification

ROOT = Path(__file__).parents[3]
SLOS = [
    slo
    for path in (ROOT / "slo" / "specs", *sorted((ROOT / "tests" / "slo" / "generation" / "golden").glob("*.yaml")))
    for slo in load_specification([path]).slos
]
# The panels' choice; one that is not recorded is shown as an SLI of 100 %.
SHOWN = {"5m": 300, "30m": 1800, "1h": 3600, "2h": 7200, "6h": 21_600, "1d": 86_400, "3d": 259_200}


@pytest.mark.parametrize("slo", SLOS, ids=lambda slo: slo.id)
def test_every_window_that_a_dashboard_offers_is_recorded(slo):
    recorded = {rule.name for group in groups_of(slo, Sites()) for rule in group.rules}
    offered = {text for text, seconds in SHOWN.items() if seconds < slo.window.seconds} | {slo.window.text}
    assert {f"slo:sli_error:ratio_rate{text}" for text in offered} <= recorded
