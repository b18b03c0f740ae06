"""Annotations say what is wrong, at the specification, and nobody else's text becomes a command."""

import re

import msgspec

from slo.gate import evaluate
from slo.openslo.loading import SpecificationError, load_gate
from slo.report.annotations import annotations, fault_annotations
from slo.verdict import Load
from tests.slo.synthetic import CHECKOUT, delayed, failing_charge

COMMAND = re.compile(r"::(error|warning|notice) ([^:]*)::(.*)")


def read(line):
    level, properties, message = COMMAND.fullmatch(line).groups()
    return level, dict(pair.split("=", 1) for pair in properties.split(",")), message


def test_a_missed_objective_is_an_error_at_the_specification_with_its_causes(run):
    run.spoil(0.2, "/api/products", delayed)
    ((level, properties, message),) = map(read, annotations(evaluate(run.facts()).verdict, "slo/specs/checkout.yaml"))
    assert (level, properties["file"]) == ("error", "slo/specs/checkout.yaml")
    assert properties["title"] == "checkout%3A p99-latency missed"
    assert "wanted <= 800 ms" in message
    assert "%0A100%25 in product: SELECT products on products" in message


def test_a_pass_is_one_notice(run):
    ((level, _, message),) = map(read, annotations(evaluate(run.facts()).verdict, "x.yaml"))
    assert (level, message) == ("notice", "Every objective is met.")


def test_what_cannot_be_decided_is_a_warning(run):
    run.spoil(0.07, "/api/orders", failing_charge)
    levels = {read(line)[0] for line in annotations(evaluate(run.facts()).verdict, "x.yaml")}
    assert levels == {"warning"}


def test_a_measurement_that_failed_says_why_and_nothing_of_objectives(run):
    run.spoil(0.2, "/api/products", delayed)
    verdict = evaluate(run.facts(problems=("k6 crashed",))).verdict
    ((level, properties, message),) = map(read, annotations(verdict, "x.yaml"))
    assert (level, properties["title"], message) == ("error", "checkout%3A the measurement failed", "k6 crashed")


def test_injected_faults_are_told_and_never_a_pass(run):
    verdict = evaluate(run.facts(faults=("payment.charge=error",))).verdict
    ((level, _, message),) = map(read, annotations(verdict, "x.yaml"))
    assert level == "notice"
    assert "not a release verdict. (payment.charge=error)" in message


def test_foreign_text_cannot_begin_a_command(run):
    evil = Load(1, 1.0, 0, None, healthy=False, problems=("100%\r\n::stop-commands::x,y\x1b[2J",))
    verdict = msgspec.structs.replace(evaluate(run.facts()).verdict, load=evil, gate="a,b::c\n")
    lines = list(annotations(verdict, "a:b,c.yaml"))
    assert all(COMMAND.fullmatch(line) for line in lines)
    assert not any("\n" in line or "\r" in line or "\x1b" in line for line in lines)
    assert "file=a%3Ab%2Cc.yaml" in lines[0]


def test_each_fault_of_a_specification_is_an_error_at_its_line(tmp_path):
    path = tmp_path / "gate.yaml"
    path.write_text(CHECKOUT.read_text().replace("target: 0.99\n", "target: ninety-nine\n"))
    try:
        load_gate(path)
    except SpecificationError as error:
        found = [read(line) for line in fault_annotations(error.faults, lambda _: "gate.yaml")]
    assert [(level, properties["file"]) for level, properties, _ in found] == [("error", "gate.yaml")] * len(found)
    lines = path.read_text().splitlines()
    assert all("ninety-nine" in lines[int(properties["line"]) - 1] for _, properties, _ in found[:2])
