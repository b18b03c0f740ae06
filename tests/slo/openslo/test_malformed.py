"""Every fault of a list of malformed specifications is located and explained; none ends in a traceback."""

from pathlib import Path

import pytest
import yaml

from slo.openslo.loading import SpecificationError, parse_specification

HERE = Path(__file__).parent
GOOD = (HERE / "good.yaml").read_text()
CASES = yaml.safe_load((HERE / "malformed.yaml").read_text())


@pytest.fixture
def faults_of(tmp_path):
    (tmp_path / "load.js").touch()

    def faults_of(raw):
        with pytest.raises(SpecificationError) as caught:
            parse_specification(raw, f"{tmp_path}/spec.yaml")
        return [
            str(fault).removeprefix(f"{tmp_path}/spec.yaml:").replace(f"{tmp_path}/", "FOLDER/")
            for fault in caught.value.faults
        ]

    return faults_of


def test_the_list_is_long_and_no_case_is_there_twice():
    names = [case["case"] for case in CASES]
    assert len(set(names)) == len(names) >= 60


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_a_malformed_specification_is_explained(case, faults_of):
    assert GOOD.count(case["was"]) == 1
    assert faults_of(GOOD.replace(case["was"], case["now"]).encode()) == case["says"]


def test_all_faults_of_all_documents_are_reported_at_once(faults_of):
    text = GOOD
    for case in ("a misspelt key", "a label that is a list", "a limit that is no bucket's edge", "a limit of nothing"):
        (found,) = (entry for entry in CASES if entry["case"] == case)
        text = text.replace(found["was"], found["now"])
    assert [fault.split(": ")[0] for fault in faults_of(text.encode())] == ["61:18", "74:3", "78:3", "90:11", "147:15"]


def test_what_may_lead_to_an_unread_document_is_no_fault(faults_of):
    assert len(faults_of(GOOD.replace("kind: Service\n", "kind: Server\n").encode())) == 1


def test_what_a_terminal_would_obey_is_shown_as_an_escape(faults_of):
    (said,) = faults_of(GOOD.replace("severity: page", 'severity: "\\e[2J\\u202e"').encode())
    assert said == r"41:19: expected 'page' or 'ticket', got '\x1b[2J\u202e'"


def test_half_a_character_is_refused_before_anybody_has_to_write_it(faults_of):
    (said,) = faults_of(GOOD.replace("severity: page", 'severity: "\\ud800"').encode())
    assert said == r"41:19: a surrogate (\ud800 to \udfff) is no character"
