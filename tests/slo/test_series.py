"""Counters of a window: differences of raw samples, resets, series that begin, targets that go."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo.pushed import labels_of, running_before, settled, unsettled
from slo.scrapes import covered, gone, holes, scrapes_of
from slo.series import Scrapes, Series, SeriesError, Window, counted, cut, restarts, shortest

A = ("shop", "a:1")
WINDOW = Window(begin=0.0, seconds=60.0, blocks=6)


def series(values, *, begin=-10.0, step=5.0, instance="a:1", **labels: str):
    samples = tuple((begin + step * index, float(v)) for index, v in enumerate(values) if v is not None)
    return Series({"__name__": "x_total", "job": "shop", "instance": instance, **labels}, samples)


def count(*found: Series, window=WINDOW, up=()):
    return counted(found, window, scrapes_of(found, up))


def test_an_increment_belongs_to_the_block_of_the_later_sample():
    assert count(series(range(15))) == (2, 2, 2, 2, 2, 2)
    assert count(series([0, 0, 0, 7])) == (7, 0, 0, 0, 0, 0)


def test_what_came_before_the_window_or_after_it_is_not_counted():
    assert count(series([0, 1000, *range(1000, 1013), 9999])) == (2, 2, 2, 2, 2, 2)


def test_a_value_that_falls_is_a_restart_from_zero():
    falling = series([5, 6, 7, 8, 3, 4])
    assert sum(count(falling)) == 1 + 3 + 1
    assert restarts([falling], WINDOW) == {A}
    assert restarts([series([5, 4, 5, 6])], WINDOW) == set(), "it fell before the window began"


def test_a_series_that_begins_inside_began_at_zero_only_where_its_target_was_seen_without_it():
    old, late = series(range(15)), series([None] * 6 + [40, 41])
    assert sum(count(old, late)) == 12 + 41
    assert sum(count(late)) == 1, "nobody knows what a target had counted before it was found"
    seen = series([1] * 15)
    assert sum(count(late, up=[seen])) == 41, "its `up` says that it was scraped before"


def pushed(*samples: tuple[float, float], **labels: str):
    return Series({"__name__": "k6_http_reqs_total", **labels}, samples)


STEADY = pushed(*((float(at), 20.0 * (at + 4000)) for at in range(-295, 61, 5)))


def test_what_k6_pushes_began_with_its_run_where_that_began_in_the_range():
    run = pushed((4.0, 195.0), (9.0, 395.0))
    running = running_before([run], -300.0)
    assert not unsettled([run], running, WINDOW.begin)
    assert count(*settled([run], running, WINDOW.begin, {})) == (395, 0, 0, 0, 0, 0)


def test_what_a_run_of_k6_pushes_rarely_is_counted_from_what_it_was_before():
    errors, first = pushed((30.0, 201.0), expected_response="false"), pushed((35.0, 2.0), expected_response="?")
    running = running_before([STEADY, errors, first], -300.0)
    assert unsettled([errors], running, WINDOW.begin)
    assert not unsettled([STEADY], running, WINDOW.begin)
    known = settled([errors, first], running, WINDOW.begin, {labels_of(errors.labels): 200.0})
    assert count(STEADY, *known) == (200, 200, 201, 202, 200, 200)


def test_what_nobody_asked_for_of_a_run_of_k6_is_not_counted():
    assert sum(count(pushed((30.0, 201.0)), STEADY)) == sum(count(STEADY))


def rates(*targets: Series):
    scrapes = scrapes_of(targets, ())
    seconds = covered(WINDOW, scrapes.values())
    return sum(counted(targets, WINDOW, scrapes)) / sum(seconds), seconds


@pytest.mark.parametrize(
    ("name", "lives", "rate"),
    [
        ("two side by side", [(-300, 60), (-300, 60)], 20),
        ("one follows another", [(-300, 30), (30, 60)], 10),
        ("one follows another in the middle of a block", [(-300, 35), (35, 60)], 10),
        ("three follow one another", [(-300, 20), (20, 40), (40, 60)], 10),
        ("a second one comes late", [(-300, 60), (30, 60)], 15),
        ("a second one leaves early", [(-300, 60), (-300, 30)], 15),
        ("one is replaced beside another", [(-300, 60), (-300, 30), (30, 60)], 20),
    ],
)
def test_a_rate_is_that_of_all_targets_together_however_they_come_and_go(name, lives, rate):
    def target(index, begin, end):
        times = [float(at) for at in range(-300, 61, 5) if begin <= at <= end]
        return Series(
            {"__name__": "x_total", "job": "shop", "instance": f"{index}:1"},
            tuple((at, 10 * (at - begin)) for at in times),
        )

    found, seconds = rates(*(target(index, *life) for index, life in enumerate(lives)))
    assert found == pytest.approx(rate), name
    assert sum(seconds) == pytest.approx(WINDOW.seconds)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_what_no_counter_can_be_is_refused_by_name(value):
    with pytest.raises(SeriesError, match=r'x_total\{instance="a:1",job="shop"\} is no counter'):
        count(series([0, value]))


@given(st.lists(st.integers(0, 50), min_size=13, max_size=13), st.integers(0, 12))
def test_every_increment_is_counted_once_wherever_a_process_restarts(steps, restart):
    total, values = 0, [0, 0]
    for index, step in enumerate(steps[:12]):
        total = step if index == restart else total + step
        values.append(total)
    # A restart that leaves the value higher than it was is nobody's to see.
    seen = sum(right - left if right >= left else right for left, right in pairwise(values[1:]))
    assert sum(count(series(values, begin=-5.0))) == seen


def test_blocks_have_two_scrapes_each():
    assert cut(0, 900, [Scrapes((), (), 15.0)]).blocks == 16
    assert cut(0, 900, [Scrapes((), (), 15.0), Scrapes((), (), 60.0)]).blocks == 7
    assert cut(0, 900, [Scrapes((), (), 15.0), Scrapes(())]).blocks == 16, "who has just come has no interval"
    assert (cut(0, 300, [Scrapes((), (), 60.0)]).blocks, shortest([Scrapes((), (), 60.0)])) == (6, 720)
    assert (cut(0, 300, []).blocks, shortest([])) == (6, math.inf)


def test_a_time_without_scrapes_is_a_hole_and_one_missing_scrape_is_none():
    steady = series(range(15))
    assert list(holes(scrapes_of([steady], []), WINDOW)) == []
    missing = series([0, 1, 2, 3, 4, None, 6, 7, 8, 9, 10, 11, 12, 13, 14])
    assert list(holes(scrapes_of([missing], []), WINDOW)) == []
    hole = series([0, 1, 2, 3, 4, None, None, None, 8, 9, 10, 11, 12, 13, 14])
    assert list(holes(scrapes_of([hole], []), WINDOW)) == ["shop a:1 was not scraped for 20 s, 10 s into the window"]


def test_a_window_that_the_series_do_not_fill_is_said():
    late, ended = series([None] * 6 + list(range(9))), series(range(8))
    assert list(holes(scrapes_of([late], []), WINDOW)) == [
        "the series begin 20 s after the window does: it must be shorter, or end later"
    ]
    assert list(holes(scrapes_of([ended], []), WINDOW)) == ["nothing was scraped in the last 35 s of the window"]


def test_who_fails_to_answer_is_a_hole_and_who_was_taken_away_is_gone():
    other, leaving = series(range(15), instance="b:1"), series(range(8))
    failing = series([1] * 8 + [0] * 7)
    dead = scrapes_of([other, leaving], [failing])
    assert list(holes(dead, WINDOW)) == ["shop a:1 did not answer the scrapes of the window's last 35 s"]
    assert gone(dead, WINDOW) == set()
    taken = scrapes_of([other, leaving], [series([1] * 8)])
    assert list(holes(taken, WINDOW)) == []
    assert gone(taken, WINDOW) == {A}


def test_more_events_than_anybody_can_have_counted_are_refused():
    with pytest.raises(SeriesError, match="more than anybody can have counted"):
        count(series([0, 0, 0, 1e15]))
