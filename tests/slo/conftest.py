"""The shipped gate, and an undisturbed run of its smoke profile."""

import pytest

from slo.gates import Gate, load_gate
from tests.slo.synthetic import CHECKOUT, SyntheticRun, make_run


@pytest.fixture
def gate() -> Gate:
    return load_gate(CHECKOUT)


@pytest.fixture
def run(gate) -> SyntheticRun:
    return make_run(gate)
