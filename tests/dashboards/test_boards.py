"""Dashboards as a whole: each joint leads somewhere, everything fits, and the files are what the specification makes."""

import re
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from dashboards import style as s
from dashboards.artefacts import artefacts
from dashboards.board import GATE_TAGS
from goshop import grafana
from slo.openslo.loading import load_specification, parse_specification
from telemetry.span_queue import QueueLimits
from tests.dashboards.boards import BOARDS, GENERATED, everything, filled, links, panels, variables_in

ROOT = Path(__file__).parents[2]
SPECS = ROOT / "slo" / "specs"
# What every dashboard has without saying so.
BUILT_IN = {"__rate_interval", "__range", "__auto", "__from", "__to", "__url_time_range", "__data", "__field"}
NARROWEST = {"stat": 6, "table": 8}
SMALLEST = 8
# More is a wall, and no answer.
MOST_PANELS = 14

every_board = pytest.mark.parametrize("uid", BOARDS)


def defined(uid):
    return {variable["name"] for variable in BOARDS[uid]["templating"]["list"]}


def test_the_committed_files_follow_from_the_specification():
    made = artefacts(load_specification([SPECS]))
    assert {path.name: path.read_bytes() for path in GENERATED.iterdir()} == made


def test_the_same_specification_is_the_same_bytes():
    assert artefacts(load_specification([SPECS])) == artefacts(
        load_specification(sorted(SPECS.glob("*.yaml"), reverse=True))
    )


def test_another_limit_is_another_line_and_another_colour():
    text = (SPECS / "checkout.yaml").read_bytes()
    before, after = (
        artefacts(parse_specification(each, str(SPECS / "checkout.yaml")))
        for each in (text, text.replace(b'"0.8"', b'"0.5"'))
    )
    assert b"vector(0.8)" in before["goshop-service.json"]
    assert b"vector(0.5)" in after["goshop-service.json"]
    assert b"> 800ms" in before["goshop-service.json"]
    assert b"> 500ms" in after["goshop-service.json"]


def test_another_budget_is_another_line_and_another_burn_rate():
    text = (SPECS / "checkout.yaml").read_bytes()
    # Errors come first there.
    before, after = (
        artefacts(parse_specification(each, str(SPECS / "checkout.yaml")))
        for each in (text, text.replace(b"target: 0.99", b"target: 0.95", 1))
    )
    for name, uses in (("goshop-service.json", 2), ("goshop-errors.json", 1), ("goshop-gates.json", 1)):
        assert before[name].count(b"(label_replace(vector(0.01)") == uses
        assert after[name].count(b"(label_replace(vector(0.05)") == uses
        assert b"vector(0.01)" not in after[name]


def test_another_burn_rate_is_another_threshold_and_another_column():
    text = (SPECS / "checkout.yaml").read_bytes()
    made = artefacts(parse_specification(text.replace(b"threshold: 6", b"threshold: 7"), str(SPECS / "checkout.yaml")))
    assert b"Page: 7 over 6h and 30m" in made["goshop-slo.json"]
    assert b'"value": 7.0' in made["goshop-service.json"]


@every_board
def test_variables_that_are_used_are_defined_and_the_other_way_round(uid):
    lists = BOARDS[uid]["templating"]["list"]
    texts = [query.text for query in everything(BOARDS[uid])]
    texts += [link["url"] for _, link in links(BOARDS[uid])]
    texts += [variable["query"]["query"] for variable in lists if variable["type"] == "query"]
    assert set().union(*map(variables_in, texts)) - BUILT_IN == defined(uid)


@every_board
def test_a_link_to_a_dashboard_leads_to_one_and_brings_what_it_asks_for(uid):
    for place, link in links(BOARDS[uid]):
        address = urlsplit(link["url"])
        if address.path == "/explore":
            continue
        target = address.path.removeprefix("/d/")
        assert target in BOARDS, place
        assert target != uid, place
        kept = variables_in(address.query)
        assert "__url_time_range" in kept
        brought = {name.removeprefix("var-") for name, _ in parse_qsl(address.query)} | kept
        assert {"service", "environment"} <= brought
        assert {"service", "environment"} <= defined(target)


@every_board
def test_a_link_to_explore_keeps_the_time_that_is_shown(uid):
    for _, link in links(BOARDS[uid]):
        if link["url"].startswith("/explore"):
            assert {"__from", "__to"} <= variables_in(link["url"])


@every_board
def test_the_others_are_one_click_away_with_time_and_variables(uid):
    (menu,) = BOARDS[uid]["links"]
    assert (menu["keepTime"], menu["includeVars"], menu["tags"]) == (True, True, [s.TAG])
    assert set(menu["tags"]) <= set(BOARDS[uid]["tags"])


def test_the_dashboards_that_alerts_and_reports_link_to_are_there():
    specification = load_specification([SPECS])
    sources = [slo.dashboard for slo in specification.slos]
    sources += re.findall(r'"(/d/[\w-]+)"', (ROOT / "slo" / "links.py").read_text())
    for link in sources:
        address = urlsplit(link)
        target = address.path.removeprefix("/d/")
        assert {name.removeprefix("var-") for name, _ in parse_qsl(address.query)} <= defined(target)


def test_gates_are_marked_by_the_tags_that_the_gate_gives():
    assert GATE_TAGS == grafana.TAGS
    for board in BOARDS.values():
        marked = [each for each in board["annotations"]["list"] if each["name"] == "Release gates"]
        assert [each["target"]["tags"] for each in marked] == [list(grafana.TAGS)]
    (runs,) = [panel for panel in panels(BOARDS["goshop-gates"]) if panel["type"] == "annolist"]
    assert runs["options"]["tags"] == list(grafana.TAGS)


@every_board
def test_panels_fill_the_grid_and_none_is_tiny(uid):
    taken = set()
    for panel in BOARDS[uid]["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        taken |= cells
        if panel["type"] != "row":
            assert place["w"] >= NARROWEST.get(panel["type"], SMALLEST)
            assert place["h"] >= (s.STAT_HEIGHT if panel["type"] == "stat" else SMALLEST)
    bottom = max(y for _, y in taken) + 1
    assert taken == {(x, y) for x in range(s.COLUMNS) for y in range(bottom)}


def test_how_much_waits_for_the_collector_is_what_the_services_are_told():
    compose = re.findall(r'OTEL_BSP_MAX_QUEUE_SIZE: "(\d+)"', (ROOT / "compose" / "compose.yaml").read_text())
    (queue,) = [panel for panel in panels(BOARDS["goshop-telemetry"]) if panel["title"] == "Queue"]
    told = {f"{int(spans):,}" for spans in (QueueLimits().spans, *compose)}
    assert set(re.findall(r"\d+,\d+(?= spans| for)", queue["description"])) == told


@every_board
def test_every_panel_answers_a_question_and_says_what_to_look_for(uid):
    for panel in panels(BOARDS[uid]):
        assert panel["type"] == "text" or ("?" in panel["description"] or ":" in panel["description"]), panel["title"]
    assert BOARDS[uid]["description"].endswith(("?", "."))
    titles = [panel["title"] for panel in panels(BOARDS[uid])]
    assert len(titles) == len(set(titles))
    assert len(titles) <= MOST_PANELS


@every_board
def test_ids_and_letters_are_each_there_once(uid):
    numbers = [panel["id"] for panel in BOARDS[uid]["panels"]]
    assert len(numbers) == len(set(numbers))
    for panel in panels(BOARDS[uid]):
        letters = [target["refId"] for target in panel["targets"]]
        assert len(letters) == len(set(letters))


def test_rate_errors_and_duration_are_seen_without_scrolling():
    first = [panel["title"] for panel in panels(BOARDS["goshop-service"]) if panel["gridPos"]["y"] < 2 * s.HEIGHT - 4]
    assert first[4:] == ["Rate by status", "Errors", "Duration"]


@every_board
def test_lines_are_coloured_by_the_palette_alone(uid):
    palette = {*s.SERIES, s.WARN, s.BAD, s.FINE, s.PLAIN_CELL}
    text = (GENERATED / f"{uid}.json").read_text()
    assert set(re.findall(r"#[0-9A-Fa-f]{6}\b", text)) <= palette
    assert set(re.findall(r'"color": "([^"]+)"', text)) <= palette
    assert "background_solid" not in text
    assert '"transparent": true' not in text


def test_putting_variables_in_leaves_what_is_none():
    assert (
        filled('x{a=~"$a"} $1 ${b:queryparam} ${__data.fields.c}', {"a": "A", "b": "B", "__data": "C"})
        == 'x{a=~"A"} $1 B C'
    )
