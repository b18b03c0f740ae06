"""The shipped gate, and an undisturbed run of its smoke profile."""

import pytest

from slo.gates import Gate
from slo.openslo.loading import load_gate
from tests.slo.synthetic import CHECKOUT, SyntheticRun, make_run


@pytest.fixture(scope="session")
def gate() -> Gate:
    return load_gate(CHECKOUT)


@pytest.fixture(scope="session")
def undisturbed(gate) -> SyntheticRun:
    """Made once; use `run`, which is the test's own."""
    return make_run(gate)


@pytest.fixture
def run(undisturbed) -> SyntheticRun:
    return SyntheticRun(undisturbed.gate, list(undisturbed.samples), dict(undisturbed.spans))
