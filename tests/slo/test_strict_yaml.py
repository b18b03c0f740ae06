"""Files that mean two things, and files that attack the reader, are refused with the place of every fault."""

from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo.strict_yaml import MOST_BYTES, Document, StrictYamlError, parse_documents, plain_scalar


def faults_of(text):
    raw = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(StrictYamlError) as caught:
        parse_documents(raw, "gate.yaml")
    return caught.value.messages


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("1:30", "1:30"),
        ("010", 10),
        ("0o10", 8),
        ("0x10", 16),
        ("1_000", "1_000"),
        ("2024-06-01", "2024-06-01"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("1e3", 1000.0),
        (".5", 0.5),
        (".inf", ".inf"),
        ("1e999", "1e999"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_scalars_mean_what_yaml_1_2_says(text, value):
    found = plain_scalar(text)
    assert found == value
    assert type(found) is type(value)


def test_a_quoted_scalar_is_a_string():
    assert parse_documents(b"a: \"1\"\nb: 'true'", "x")[0].value == {"a": "1", "b": "true"}


def test_positions_of_values_and_keys_are_known():
    (document,) = parse_documents(b"a:\n  - b: 1\n    c: two\n", "x")
    assert str(document.locate(("a", 0, "c"), "no")) == "x:3:8: no"
    assert str(document.locate(("a", 0, "c"), "no", key=True)) == "x:3:5: no"
    assert document.locate(("a", 0, "c"), "no").path == "a[0].c"


def test_what_is_missing_stands_where_it_would_have_to_be():
    (document,) = parse_documents(b"a:\n  - b: 1\n", "x")
    assert str(document.locate(("a", 0, "c", "d"), "no")) == "x:2:5: no"


def test_several_documents_know_their_places_in_the_file():
    first, second = parse_documents(b"# one\n---\na: 1\n---\n---\nb: 2\n...\n---\n# none\n", "x")
    assert (first.value, second.value) == ({"a": 1}, {"b": 2})
    assert str(second.locate(("b",), "no")) == "x:6:4: no"


def test_faults_of_all_documents_are_reported_at_once():
    assert faults_of("a: 1\na: 2\n---\nb: &x 1\n---\nc: [\n") == [
        "gate.yaml:2:1: duplicate key 'a', first on line 1",
        "gate.yaml:4:4: anchors are not allowed: &x",
        "gate.yaml:7:1: cannot be read as YAML: while parsing a flow node: expected the node content, but found '<stream end>'",
    ]


def test_a_file_of_nothing_but_faults_is_not_read_to_its_end():
    found = faults_of("a: 1\n" * 5000)
    assert (len(found), found[-1]) == (
        1001,
        "gate.yaml:1002:1: more than 1000 faults: the rest is not looked at",
    )


def test_all_duplicate_keys_are_reported_at_once():
    assert faults_of("a: 1\nb: 2\na: 3\nc: {d: 1, d: 2}\n") == [
        "gate.yaml:3:1: duplicate key 'a', first on line 1",
        "gate.yaml:4:11: duplicate key 'd', first on line 4",
    ]


def test_anchors_aliases_and_tags_are_refused():
    assert faults_of("a: &x [1]\nb: *x\nc: !!python/object 1\n") == [
        "gate.yaml:1:4: anchors are not allowed: &x",
        "gate.yaml:2:4: aliases are not allowed: *x",
        "gate.yaml:3:4: tags are not allowed: tag:yaml.org,2002:python/object",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1:1: the file is empty"),
        ("# nothing\n", "1:1: the file is empty"),
        ("a: [1\n", "cannot be read as YAML"),
        ("a: b: c\n", "1:5: cannot be read as YAML"),
        ("\ta: 1\n", "1:1: cannot be read as YAML"),
        ("? [a]\n: 1\n", "1:3: a key must be a string"),
        (b"a: \xff\n", "1:4: not UTF-8: byte 0xff"),
        ("a: 1\nb: \x07\n", "2:4: a character that YAML does not allow"),
        ("a: " + "x" * MOST_BYTES, "1:1: longer than"),
    ],
)
def test_what_is_no_yaml_is_refused_at_its_place(text, said):
    assert said in faults_of(text)[0]


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_a_deeply_nested_file_is_refused_at_once(opening):
    begin = perf_counter()
    assert "nested deeper than 32" in faults_of(opening * 50_000)[0]
    assert perf_counter() - begin < 2


def read_or_refused(raw):
    try:
        return parse_documents(raw, "f")
    except StrictYamlError as error:
        return error.messages


@given(st.binary(max_size=80) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_anything_is_read_or_refused_with_a_place(raw):
    found = read_or_refused(raw)
    assert found
    assert all(isinstance(one, Document) or one.startswith("f:") for one in found)
