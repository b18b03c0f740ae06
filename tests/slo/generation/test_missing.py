"""When nobody is woken for series that are not there: their target is up, and was not called yet."""

from typing import Any

import pytest
import yaml

from slo.generation.artefacts import prometheus_rules
from slo.openslo.loading import parse_specification
from tests.slo.generation.test_golden import GOLDEN

SPEC = (GOLDEN / "missing-data.yaml").read_text()
ASKED = 'rpc_server_duration_seconds_count{service="payment"'
FOREIGN = """
---
apiVersion: openslo/v1
kind: DataSource
metadata:
  name: theirs
  annotations:
    goshop.dev/series: foreign
spec:
  type: Prometheus
"""


def alert(text: str) -> dict[str, Any]:
    groups = yaml.safe_load(prometheus_rules(parse_specification(text.encode(), "spec.yaml")))["groups"]
    (found,) = (rule for group in groups for rule in group["rules"] if rule.get("alert", "").endswith("Absent"))
    return dict(found)


def absent(text: str) -> str:
    return str(alert(text)["expr"]).partition("unless on ()\n")[2]


@pytest.mark.parametrize(
    ("more", "up"),
    [
        (',environment="prod",instance!="a:1"', 'service="payment",environment="prod",instance!="a:1"'),
        # What is not the target's is not on `up`.
        (',rpc_method="Charge"', 'service="payment"'),
    ],
)
def test_of_our_series_the_target_is_known(more: str, up: str) -> None:
    said = f"(up{{{','.join(sorted(up.split(',')))}}} == 1)"
    assert absent(SPEC.replace(ASKED, ASKED + more)) == said


@pytest.mark.parametrize("whose", ['service=~"pay.*"', 'environment="prod"', 'rpc_method="Charge"', 'service=""'])
def test_series_of_any_service_say_of_no_target_that_it_is_theirs(whose: str) -> None:
    assert absent(SPEC.replace('service="payment"', whose)) == ""


def test_of_foreign_series_every_label_may_be_the_target_s() -> None:
    asked = ASKED.replace("rpc_server_duration_seconds_count", "calls_total").replace("service", "job")
    text = SPEC.replace(ASKED, asked + ',pod=~"a|b"') + FOREIGN
    assert absent(text) == '(up{job="payment",pod=~"a|b"} == 1)'
    assert absent(text.replace('job="payment",', "")) == ""


@pytest.mark.parametrize(
    ("edge", "spelled"), [("1", '3: "1.0"'), ("1.0", '2 often "1"'), ("10", '3: "10.0"'), ("0.2", ""), ("2.5", "")]
)
def test_a_foreign_bucket_that_is_gone_may_only_be_spelled_otherwise(edge: str, spelled: str) -> None:
    text = (GOLDEN / "latency.yaml").read_text().replace("rpc_server_duration", "theirs") + FOREIGN
    said = alert(text.replace('le="0.2"', f'le="{edge}"'))["annotations"]["description"]
    assert spelled in said
    assert bool(spelled) is ("Prometheus" in said)
