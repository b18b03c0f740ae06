"""The published JSON Schema says what verdict.json is."""

import json

import pytest

from slo.gate import evaluate
from slo.verdict import encode_verdict
from slo.verdict_schema import verdict_schema
from tests.slo.published import SCHEMA, assert_published, faults
from tests.slo.synthetic import delayed


def written(facts):
    return json.loads(encode_verdict(evaluate(facts).verdict))


def test_the_committed_schema_is_the_derived_one():
    assert verdict_schema() == SCHEMA


def test_a_verdict_with_everything_in_it_is_as_published(run):
    run.spoil(0.2, "/api/products", delayed)
    found = written(run.facts(grafana="https://grafana.example.org", faults=("payment.charge=error",)))
    assert found["causes"]
    assert found["links"]
    assert_published(found)


def test_a_verdict_of_a_measurement_that_failed_is_as_published(run):
    assert_published(written(run.facts(samples=(), spans=None, access_lines=None, problems=("no luck",))))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 1}, "verdict: 1"),
        ({"verdict": "maybe"}, "verdict.verdict: 'maybe'"),
        ({"release": {"version": ""}}, "verdict.release: lacks commit"),
        ({"faults": [1]}, "verdict.faults[0]: 1"),
        ({"more": 1}, "verdict: more is not published"),
    ],
)
def test_another_document_is_not(run, change, said):
    assert any(said.split(": ")[1] in fault for fault in faults(written(run.facts()) | change, SCHEMA, "verdict"))
