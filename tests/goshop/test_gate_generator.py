"""The load generator is under test too: whatever is wrong with it, a real k6 made to do it, the answer is exit 5 with a reason."""

import pytest

from tests.goshop.plain import GENERATORS

pytestmark = pytest.mark.timeout(180)


@pytest.mark.parametrize("name", GENERATORS)
def test_a_load_that_cannot_be_trusted_is_exit_5_with_its_reason(plain_runs, name):
    done, verdict = plain_runs.found[name]
    assert (done.returncode, verdict.verdict) == (5, "error"), done.stdout + done.stderr
    said = GENERATORS[name].said
    assert any(said in problem for problem in verdict.load.problems), verdict.load.problems
    assert said in done.stdout + done.stderr
