"""Queries: what is read of them, and how it is said again."""

import pytest

from slo.openslo.promql import LONGEST, QueryError, parse_query


@pytest.mark.parametrize(
    ("query", "selector"),
    [
        ("up", "up"),
        ("up{}", "up"),
        (' sum ( rate ( up { job = "a" , } [ 5m ] ) ) ', 'up{job="a"}'),
        ("increase(up[1h30m])", "up"),
        ("sum(rate(up[$window]))", "up"),
        ("sum(rate(up[{{.window}}]))", "up"),
        ("job:requests:rate5m{b!='x',a=~`5..`}", 'job:requests:rate5m{a=~"5..",b!="x"}'),
        (r'up{a="say \"no\"\n"}', r'up{a="say \"no\"\n"}'),
        (r'up{a=~"\\d+|\\pL"}', r'up{a=~"\\d+|\\pL"}'),
        ('up{a="é"}', 'up{a="é"}'),
    ],
)
def test_a_query_is_read_as_its_series(query, selector):
    assert str(parse_query(query)) == selector
    assert parse_query(selector) == parse_query(query)


def test_the_character_that_promql_takes_for_a_fault_of_the_encoding_is_written_as_an_escape():
    assert str(parse_query('up{a="\ufffd",b=~`\\x{fffd}`}')) == r'up{a="\ufffd",b=~"\\x{fffd}"}'


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("sum(sum(up))", "got sum() before character 8"),
        ("rate(rate(up[5m])[5m])", "got rate() before character 10"),
        ("avg(up)", "got avg() before character 4"),
        ("sum(up", "expected ')', got the end"),
        ("up offset 5m", "got 'offset 5m' at character 4"),
        ("up[5m]", "got '[5m]' at character 3"),
        ("1 - up", "got '1 - up' at character 1"),
        ("rate(up[5x])", "expected a range"),
        ('up{a~"b"}', "expected =, !=, =~ or !~"),
        ('up{5="b"}', "expected the name of a label"),
        (r'up{a="\x41"}', r"unknown escape \x"),
        ('up{a=~"["}', "is no regular expression"),
        ('up{__name__="up"}', "take __name__ out"),
        ('up{a=~"a{99999999999}"}', "is no regular expression"),
        ("u" * (LONGEST + 1), "at most 1050 characters"),
    ],
)
def test_what_hides_its_series_is_refused(query, said):
    with pytest.raises(QueryError) as caught:
        parse_query(query)
    assert said in str(caught.value)
