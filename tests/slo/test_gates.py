"""Gate files: what the shipped one says, and that every fault of a bad one is reported at its place."""

import pytest

from slo.gates import GateError, load_gate

HEAD = "apiVersion: goshop/v1\nkind: Gate\nname: checkout\nscript: load.js\nobjectives:\n"
GOOD = '  - {name: p99, indicator: latency, percentile: 99, target: "<= 800 ms"}\n'


@pytest.fixture
def write(tmp_path):
    (tmp_path / "load.js").touch()

    def write(text):
        path = tmp_path / "gate.yaml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def faults_of(write):
    def faults_of(text):
        path = write(text)
        with pytest.raises(GateError) as caught:
            load_gate(path)
        return [message.removeprefix(f"{path}:") for message in caught.value.messages]

    return faults_of


def test_the_checkout_gate_says_what_the_specification_says(gate):
    assert [(goal.name, goal.op, goal.target, goal.unit, goal.budget) for goal in gate.objectives] == [
        ("p99-latency", "<=", 0.8, "s", 0.01),
        ("error-rate", "<", 0.01, "ratio", 0.01),
        ("throughput", ">", 100.0, "requests/s", None),
    ]
    assert (gate.name, gate.profile, gate.script.name) == ("checkout", "smoke", "shop.js")
    assert (gate.latency_target, gate.throughput_target) == (0.8, 100.0)


def test_a_percentile_gives_its_budget_without_rounding_in_binary(write):
    gate = load_gate(write(HEAD + GOOD.replace("percentile: 99", "percentile: 99.9")))
    assert gate.objectives[0].budget == 0.001


def test_an_objective_may_concern_one_endpoint(write):
    gate = load_gate(write(HEAD + '  - {name: s, indicator: errors, endpoint: GET /api/products, target: "< 0.5 %"}\n'))
    assert (gate.objectives[0].endpoint, gate.objectives[0].target) == ("GET /api/products", 0.005)


def test_every_fault_of_a_file_is_reported_at_once(faults_of):
    text = """apiVersion: goshop/v2
kind: Gate
name: Check out
scirpt: load.js
objectives:
  - name: p99
    indicator: latency
    target: 800
  - indicator: speed
    target: "< 1 %"
"""
    assert faults_of(text) == [
        "4:1: unknown key 'scirpt'; did you mean 'script'?",
        "1:13: invalid enum value 'goshop/v2' ('goshop/v2')",
        "3:7: expected str matching regex '^[a-z][a-z0-9-]{0,62}$' ('Check out')",
        "1:1: missing key 'script'",
        "8:13: expected str, got int (800)",
        "9:5: missing key 'name'",
        "9:16: invalid enum value 'speed' ('speed')",
    ]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ('{name: a, indicator: latency, target: "<= 800 ms"}', "6:5: a percentile belongs to a latency objective"),
        ('{name: a, indicator: errors, percentile: 99, target: "< 1 %"}', "6:5: a percentile belongs to a latency"),
        ('{name: a, indicator: errors, target: "< 1"}', "expected a target such as '< 1 %', got '< 1'"),
        ('{name: a, indicator: errors, target: "> 1 %"}', "expected a target such as '< 1 %'"),
        ('{name: a, indicator: errors, target: "< 100 %"}', "is out of range"),
        ('{name: a, indicator: errors, target: "< 0 %"}', "is out of range"),
        ('{name: a, indicator: throughput, target: "> 800 ms"}', "such as '> 100 requests/s'"),
        (
            '{name: a, indicator: throughput, endpoint: GET /x, target: "> 1 requests/s"}',
            "throughput is judged over all requests",
        ),
        ('{name: a, indicator: errors, endpoint: /x, target: "< 1 %"}', "expected str matching regex"),
        ("7", "6:5: expected a mapping, got 7"),
    ],
)
def test_an_objective_that_says_nothing_is_refused(faults_of, entry, said):
    assert said in faults_of(f"{HEAD}  - {entry}\n")[0]


def test_two_objectives_of_one_name_are_refused(faults_of):
    assert faults_of(HEAD + GOOD + GOOD) == ["7:12: the name 'p99' is taken by another objective"]


def test_an_empty_list_of_objectives_is_refused(faults_of):
    assert faults_of(HEAD.replace("objectives:\n", "objectives: []\n")) == ["5:13: expected array of length >= 1"]


def test_a_script_that_is_not_there_is_refused(faults_of):
    (said,) = faults_of(HEAD.replace("load.js", "none.js") + GOOD)
    assert said.startswith("4:9: there is no such file: ")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(GateError, match="No such file"):
        load_gate(tmp_path / "none.yaml")
