"""What the builders hold to, for whatever they are given."""

import json
from itertools import pairwise
from string import ascii_letters, printable
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards import style as s
from dashboards.artefacts import rendered
from dashboards.board import dashboard, placed, row
from dashboards.links import to_dashboard, to_lines, to_traces
from dashboards.panels import Column, stat, table, timeseries
from dashboards.sources import over_time

UNSEEN = "none"
numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
words = st.text(printable, max_size=40)
# Ways of cutting 24 columns into panels.
cuts = st.sets(st.integers(1, s.COLUMNS - 1), max_size=5).map(lambda at: [0, *sorted(at), s.COLUMNS])


def rows_of(widths, height):
    panels = [
        timeseries(f"panel {at}", UNSEEN, unit=s.COUNT, width=width, height=height) for at, width in enumerate(widths)
    ]
    return row(*panels)


@given(st.lists(st.tuples(cuts, st.integers(4, 12)), min_size=1, max_size=6))
def test_rows_lie_under_one_another_and_panels_beside_one_another(shapes):
    rows = [rows_of([b - a for a, b in pairwise(cut)], height) for cut, height in shapes]
    panels = placed(rows)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells)) == s.COLUMNS * sum(height for _, height in shapes)
    assert [panel["id"] for panel in panels] == [*range(1, len(panels) + 1)]


@given(st.lists(st.integers(1, 24), min_size=1, max_size=5).filter(lambda widths: sum(widths) != s.COLUMNS))
def test_a_row_that_leaves_a_gap_is_refused(widths):
    with pytest.raises(ValueError, match="columns"):
        rows_of(widths, s.HEIGHT)


@given(st.lists(st.tuples(numbers, st.sampled_from(s.SERIES)), max_size=6))
def test_thresholds_rise_and_begin_below_everything(steps):
    values = [step["value"] for step in s.thresholds(steps)["steps"]]
    assert values[0] is None
    assert values[1:] == sorted(value for value, _ in steps)


@given(words, words)
def test_what_a_link_to_explore_asks_is_what_was_said(query, title):
    for made, key in ((to_traces(title, query), "query"), (to_lines(title, query), "expr")):
        panes = parse_qs(urlsplit(made["url"]).query, strict_parsing=True)["panes"]
        assert json.loads(panes[0])["a"]["queries"][0][key] == query


@given(st.text(ascii_letters, min_size=1))
def test_a_link_to_a_dashboard_keeps_time_service_and_environment(name):
    address = urlsplit(to_dashboard("there", name)["url"])
    assert address.path == f"/d/goshop-{name}"
    assert address.query == "${__url_time_range}&${service:queryparam}&${environment:queryparam}"


@given(st.lists(words.filter(bool), min_size=1, max_size=6, unique=True))
def test_a_table_calls_each_query_s_values_by_their_column(titles):
    made = table("table", UNSEEN, {"service": "Service"}, [Column(title, "up", s.COUNT) for title in titles])
    names = made["transformations"][1]["options"]["renameByName"]
    letters = [target["refId"] for target in made["targets"]]
    values = [f"Value #{letter}" for letter in letters] if len(titles) > 1 else ["Value"]
    assert [names[value] for value in values] == titles


@given(st.lists(words, max_size=8))
def test_queries_are_lettered_in_their_order(legends):
    made = stat("stat", UNSEEN, *(over_time("up", legend) for legend in legends), unit=s.COUNT)
    assert [(target["refId"], target["legendFormat"]) for target in made["targets"]] == [
        ("ABCDEFGH"[at], legend) for at, legend in enumerate(legends)
    ]


@given(words, words)
def test_what_is_rendered_is_read_back(title, question):
    made = dashboard("any", title, question, [rows_of([s.COLUMNS], s.HEIGHT)])
    assert json.loads(rendered(made)) == made
