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


HUGE = "0x" + "f" * 4000


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        ("severity: page", 'severity: "\\UFFFFFFFF"', ["41:22: cannot be read as YAML: a number out of range"]),
        ("severity: page", 'severity: "\\U00110000"', ["41:22: cannot be read as YAML: a number out of range"]),
        ("description: What customers meet.", f"description: {HUGE}", [f"29:16: expected a string of at most 1050 characters, got '{HUGE[:59]}…"]),
        ("    team: store", f"    team: {{a: {HUGE}}}", ["24:11: expected one string of at most 253 characters (a Prometheus label has no list), got a mapping"]),
        ("targetPercent: 99", f"targetPercent: {HUGE}", [f"80:22: expected a number, got '{HUGE[:59]}…"]),
        ("apiVersion: goshop/v1", f"apiVersion: {HUGE}", [f"135:13: expected 'openslo/v1' or 'goshop/v1', got '{HUGE[:59]}…"]),
        ("script: load.js", 'script: "a\\0b"', [r"140:11: expected the path of a script, from this file on: 1 to 1050 characters, got 'a\x00b'"]),
        ("script: load.js", f"script: {'a' * 300}", [f"140:11: there is no such file: FOLDER/{'a' * 300}"]),
        ("script: load.js", "script: loop.js", ["140:11: there is no such file: FOLDER/loop.js"]),
    ],
    ids=["a character beyond the last", "a code beyond a word", "a description", "a label", "a number", "a version", "a file that ends early", "a name that is too long", "a circle"],
)  # fmt: skip
def test_what_stumbles_python_or_its_libraries_is_explained_all_the_same(was, now, says, faults_of, tmp_path):
    (tmp_path / "loop.js").symlink_to("loop.js")
    assert GOOD.count(was) == 1
    assert faults_of(GOOD.replace(was, now).encode()) == says


def test_a_version_of_yaml_with_thousands_of_digits_is_explained(faults_of):
    (said,) = faults_of(f"%YAML 1.{'1' * 5000}\n---\n{GOOD}".encode())
    assert said == "1:9: cannot be read as YAML: a number out of range"


def test_half_a_character_is_refused_before_anybody_has_to_write_it(faults_of):
    (said,) = faults_of(GOOD.replace("severity: page", 'severity: "\\ud800"').encode())
    assert said == r"41:19: a surrogate (\ud800 to \udfff) is no character"
