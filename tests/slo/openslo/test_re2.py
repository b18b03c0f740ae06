"""Regular expressions: what Prometheus takes, and what it would refuse a whole file of rules for.

Every line was given to Go's regexp.Compile, alone and as "^(?s:…)$", the way Prometheus anchors it.
"""

import pytest

from slo.openslo.re2 import regex_fault

TAKEN = (
    *(
        "",
        "5..",
        "500|503",
        "(?i)get|post",
        "a(?i)b",
        "(?:a|b)*?",
        "(?P<n>a)(?P<n>b)",
        "(?s-i:a.)",
        "()*",
        "^*",
        "{",
        "a{,3}",
    ),
    *(
        "a{01}",
        "a{2,}?",
        "(a{10}){100}",
        "(a{0}){1000}",
        "[]a]",
        "[^]a]",
        "[a-]",
        "[-a]",
        "[a-b-c]",
        "[[:^digit:]x]",
        "[:a]",
    ),
    *(
        r"\z",
        r"\A\b\B",
        r"\Qa*\E+",
        r"\pL\P{Lu}\p{^Any}",
        r"\x{10FFFF}\x41\07\123",
        r"\_\-\/",
        r"[\d\pN\.-\x41\07-\t]",
        "é",
        "]}",
    ),
)
REFUSED = {
    "(?!404)4..": "no such group at character 1",
    "(?<=a)b": "no such group",
    "(?>a)": "no such group",
    "(?#a)": "no such group",
    "(?x)a": "no such group",
    "(?i": "no such group",
    "(a)(?(1)a|b)": "no such group at character 4",
    "(?P<n>a)(?P=n)": "no such group at character 9",
    r"(a)\1": "no such escape at character 4",
    r"\u0041": "no such escape",
    r"\Z": "no such escape",
    r"\C": "no such escape",
    r"\é": "no such escape",
    r"\p{Nobody}": "no such escape",
    r"\x{110000}": "no such escape",
    "a\\": "no such escape at character 2",
    r"\Q\Eb\Q(": "no such escape at character 1",
    "a{1001}": "more than 1000 repetitions",
    "a{1001,}": "more than 1000 repetitions",
    "((a{10}){10}|b){11}": "more than 1000 repetitions at character 16",
    "a{5,2}": "a repetition of more than its most",
    "a++": "two repetitions in a row at character 3",
    "a**": "two repetitions in a row",
    "a{2}{3}": "two repetitions in a row",
    "*a": "nothing to repeat at character 1",
    "a|*": "nothing to repeat",
    "(?:a": "a group does not end",
    "a)": "a ) without its (",
    "[a": "a class does not end",
    "[]": "a class does not end",
    "[z-a]": "a range that runs backwards",
    r"[\x{100}-\n]": "a range that runs backwards",
    r"[a-\d]": "no such member of a class",
    r"[\b]": "no such member of a class",
    "[[:nobody:]]": "no such member of a class",
}  # fmt: skip


@pytest.mark.parametrize("pattern", TAKEN)
def test_what_prometheus_takes_is_taken(pattern):
    assert not regex_fault(pattern)


@pytest.mark.parametrize("pattern", REFUSED)
def test_what_prometheus_refuses_is_refused_and_said_why(pattern):
    assert REFUSED[pattern] in regex_fault(pattern)


def test_the_longest_expression_is_read_in_no_time():
    assert regex_fault("[a" * 500) == "a class does not end at character 1001"
