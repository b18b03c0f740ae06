"""Release gates: what the shipped one says, what may be tightened, and what a load test can't judge."""

from pathlib import Path

import pytest

from slo.openslo.loading import SpecificationError, load_gate

ROOT = Path(__file__).parents[3]
SHIPPED = (ROOT / "slo" / "specs" / "checkout.yaml").read_text()
OBJECTIVE = "    - name: p99-latency\n      sloRef: gateway-latency\n"


@pytest.fixture
def write(tmp_path):
    (tmp_path / "shop.js").touch()

    def write(text):
        path = tmp_path / "gate.yaml"
        path.write_text(text.replace("../../loadtests/k6/shop.js", "shop.js"))
        return path

    return write


@pytest.fixture
def with_objective(write):
    def with_objective(*lines: str):
        return write(SHIPPED.replace(OBJECTIVE, OBJECTIVE + "".join(f"      {line}\n" for line in lines)))

    return with_objective


def faults_of(path):
    with pytest.raises(SpecificationError) as caught:
        load_gate(path)
    return [fault.message for fault in caught.value.faults]


def test_the_checkout_gate_says_what_the_specification_says(gate):
    assert [(goal.name, goal.op, goal.target, goal.unit, goal.budget) for goal in gate.objectives] == [
        ("p99-latency", "<=", 0.8, "s", 0.01),
        ("error-rate", "<", 0.01, "ratio", 0.01),
        ("throughput", ">", 100.0, "requests/s", None),
    ]
    assert gate.objectives[0].percentile == 99.0
    assert (gate.name, gate.profile, gate.script.name) == ("checkout", "smoke", "shop.js")
    assert (gate.latency_target, gate.throughput_target) == (0.8, 100.0)


def test_a_percentile_gives_its_budget_without_rounding_in_binary(with_objective):
    first = load_gate(with_objective("target: 0.999")).objectives[0]
    assert (first.percentile, first.budget) == (99.9, 0.001)


def test_an_objective_may_concern_one_endpoint_and_ask_for_more(with_objective):
    first = load_gate(with_objective("endpoint: GET /api/products", "within: 350 ms", "target: 0.995")).objectives[0]
    assert (first.endpoint, first.target, first.budget) == ("GET /api/products", 0.35, 0.005)


def test_whoever_asks_for_less_says_why(with_objective):
    assert faults_of(with_objective("target: 0.95", "within: 1.5 s")) == [
        "a target of 0.95 where the SLO has 0.99 and within 1.5 s where the SLO has 0.8 s asks for less: give the reason as 'loosened'"
    ]
    relaxed = load_gate(with_objective("target: 0.95", "loosened: the staging machine is slow")).objectives[0]
    assert relaxed.budget == 0.05


def test_a_reason_for_nothing_is_refused(with_objective):
    assert faults_of(with_objective("target: 0.995", "loosened: a habit")) == [
        "nothing is asked for less than the SLO does: take loosened out"
    ]


def test_an_slo_of_one_route_is_judged_on_that_route_alone(write):
    routed = SHIPPED.replace('{service="gateway"', '{service="gateway",method="GET",endpoint="/api/products"')
    text = routed.replace("sloRef: gateway-latency\n", "sloRef: gateway-latency\n      endpoint: GET /api/products\n")
    text = text.replace(
        "sloRef: gateway-availability\n", "sloRef: gateway-availability\n      endpoint: GET /api/products\n"
    )
    assert {goal.endpoint for goal in load_gate(write(text)).objectives} == {"GET /api/products", ""}
    assert len(faults_of(write(routed))) == 2


FOREIGN = SHIPPED.replace(
    "  displayName: The Prometheus that scrapes the shop\n", "  annotations: {goshop.dev/series: foreign}\n"
)


@pytest.mark.parametrize(
    ("text", "matchers"),
    [
        (FOREIGN, '{job="shop",handler="/checkout"'),
        (FOREIGN, '{job="shop",code!~"4.."'),
        (SHIPPED, '{service="gateway",status_code!~"4.."'),
    ],
)
def test_an_slo_of_some_requests_is_not_judged_over_all(write, text, matchers):
    narrowed = text.replace('{service="gateway"', matchers)
    assert ["name the one route that it counts as endpoint" in said for said in faults_of(write(narrowed))] == [
        True
    ] * 2
    named = narrowed
    for slo in ("gateway-latency", "gateway-availability"):
        named = named.replace(f"sloRef: {slo}\n", f"sloRef: {slo}\n      endpoint: POST /checkout\n")
    assert {goal.endpoint for goal in load_gate(write(named)).objectives} == {"POST /checkout", ""}


def test_an_slo_of_all_that_a_foreign_target_counts_is_judged_over_all(write):
    assert load_gate(write(FOREIGN.replace('{service="gateway"', '{job="shop"'))).name == "checkout"


def test_a_folder_may_have_other_files_but_one_gate(write, tmp_path):
    write(SHIPPED)
    assert load_gate(tmp_path).name == "checkout"
    (tmp_path / "more.yaml").write_text(SHIPPED[SHIPPED.index("apiVersion: goshop/v1") :].replace("checkout", "other"))
    assert "there is no such file" in faults_of(tmp_path)[0]
    (tmp_path / "more.yaml").write_text(
        "apiVersion: goshop/v1\nkind: ReleaseGate\nmetadata: {name: other}\n"
        'spec: {script: shop.js, throughput: {target: "> 1 requests/s"}}\n'
    )
    assert faults_of(tmp_path) == ["expected one ReleaseGate, got 2: checkout, other"]


def test_a_specification_without_a_gate_is_no_gate(write):
    assert faults_of(write(SHIPPED[: SHIPPED.index("# What holds before")])) == ["expected one ReleaseGate, got none"]


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SpecificationError, match="No such file"):
        load_gate(tmp_path / "none.yaml")
