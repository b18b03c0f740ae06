"""The exit code is the answer: each of the seven is reached through the command itself, with the verdict that it says.

The runs of 0, 1, 3, 4 and 5 are those of `tests.goshop.plain` and `tests.goshop.beside`.
"""

import pytest

from slo.verdict import EXITS, read_verdict
from tests.goshop.plain import goshop_gate, script, write_specification
from tests.goshop.replay import prometheus, replay

pytestmark = pytest.mark.timeout(240)

# Runs that others look at, too.
SHARED = {0: "good", 1: "failing", 3: "short", 4: "slower", 5: "throwing"}
WORDS = {code: word for word, code in EXITS.items()}


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    """A run whose budgets are asked for first: no load is sent, so that nothing need answer there."""
    folder = tmp_path_factory.mktemp("frozen")
    (folder / "load.js").write_text(script("/"))
    target = ("--url", "http://127.0.0.1:1", "--script", folder / "load.js")
    with prometheus(replay("spent")) as address:
        done = goshop_gate(
            write_specification(folder / "gate.yaml"),
            *(*target, "--prometheus", address, "--dir", folder / "runs", "--out", folder / "out"),
        )
    return done, read_verdict(folder / "out" / "verdict.json")


@pytest.fixture(scope="module")
def misused(tmp_path_factory):
    """A run of a profile that there is not."""
    return goshop_gate("--profile", "no-such", "--dir", tmp_path_factory.mktemp("misused")), None


@pytest.fixture(scope="module")
def runs(plain_runs, beside_runs, misused, frozen):
    """What each run said and the verdict it left, if any, by exit code."""
    shared = plain_runs.found | beside_runs.found
    return {code: shared[name] for code, name in SHARED.items()} | {2: misused, 6: frozen}


def test_there_are_seven_exit_codes_and_a_word_for_each_but_wrong_usage():
    assert sorted([*EXITS.values(), 2]) == list(range(7))


@pytest.mark.parametrize("code", range(7))
def test_each_exit_code_is_reached_through_the_command(code, runs):
    done, verdict = runs[code]
    assert done.returncode == code, done.stdout + done.stderr
    if verdict is None:
        assert (done.stdout, len(done.stderr.splitlines())) == ("", 1)
    else:
        assert verdict.verdict == WORDS[code]
        assert WORDS[code].upper() in done.stdout


def test_a_frozen_release_is_sent_no_load_and_says_which_budget_is_spent(frozen):
    done, verdict = frozen
    assert (verdict.load.requests, {result.total for result in verdict.objectives}) == (0, {0})
    assert "not measured: the error budget is spent" in done.stdout
    assert "gateway-availability" in done.stdout
