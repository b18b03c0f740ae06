"""The contract of verdict.json and of the exit status."""

import json
from itertools import product

import msgspec
import pytest

from slo.gate import evaluate
from slo.verdict import EXITS, ObjectiveResult, conclude, read_verdict, write_verdict

RESULT = ObjectiveResult("p99", "met", 0.4, "s", "<=", 0.8, 4500, 3, 0.01, (0.0, 0.003))


def results(outcomes):
    return [msgspec.structs.replace(RESULT, outcome=outcome) for outcome in outcomes]


@pytest.mark.parametrize(
    ("outcomes", "measured", "regression", "word"),
    [
        (("met", "met"), True, "no", "pass"),
        (("met", "inconclusive"), True, "no", "inconclusive"),
        (("met", "inconclusive"), True, "yes", "regression"),
        (("met", "met"), True, "yes", "regression"),
        (("met", "met"), True, "inconclusive", "inconclusive"),
        (("missed", "inconclusive"), True, "yes", "fail"),
        (("missed", "met"), True, "inconclusive", "fail"),
        (("missed", "met"), False, "yes", "error"),
        (("met", "met"), False, "no", "error"),
        ((), True, "no", "error"),
    ],
)
def test_what_weighs_more_is_the_verdict(outcomes, measured, regression, word):
    assert conclude(results(outcomes), measured=measured, regression=regression) == word


def test_only_a_run_that_met_everything_exits_with_0():
    for outcomes in product(("met", "missed", "inconclusive"), repeat=3):
        passed = conclude(results(outcomes), measured=True) == "pass"
        assert passed == (set(outcomes) == {"met"})


def test_exit_statuses_are_those_of_the_contract():
    assert EXITS == {"pass": 0, "fail": 1, "inconclusive": 3, "regression": 4, "error": 5, "frozen": 6}


def test_the_written_verdict_has_the_members_of_the_contract(run, tmp_path):
    write_verdict(evaluate(run.facts()).verdict, tmp_path / "verdict.json")
    found = json.loads((tmp_path / "verdict.json").read_bytes())
    assert list(found) == [
        "schema", "verdict", "gate", "release", "url", "profile", "faults", "started", "ended",
        "objectives", "load", "reconciliation", "causes", "traces", "links", "baseline", "budget",
            "source",
    ]  # fmt: skip
    assert set(found["objectives"][0]) >= {
        "name", "outcome", "actual", "unit", "op", "target", "total", "bad", "budget", "bad_share_interval",
    }  # fmt: skip
    assert set(found["load"]) >= {"requests", "rate", "dropped_iterations", "client_minus_server_p99", "healthy"}
    assert set(found["traces"]) == {"slowest", "failed"}
    assert found["schema"] == 2


def test_a_verdict_is_read_as_it_was_written(run, tmp_path):
    verdict = evaluate(run.facts()).verdict
    write_verdict(verdict, tmp_path / "verdict.json")
    assert read_verdict(tmp_path / "verdict.json") == verdict


def test_a_verdict_of_another_schema_is_refused(tmp_path):
    (tmp_path / "verdict.json").write_text('{"schema": 1}')
    with pytest.raises(ValueError, match="schema 1, this version reads 2"):
        read_verdict(tmp_path / "verdict.json")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": 2}'])
def test_what_is_no_verdict_is_refused(tmp_path, text):
    (tmp_path / "verdict.json").write_text(text)
    with pytest.raises(ValueError):  # noqa: PT011 - msgspec says what is wrong in its own words
        read_verdict(tmp_path / "verdict.json")
