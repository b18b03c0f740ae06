"""Whether the load can be trusted: what was offered, who is to blame for less, and the client's own waiting."""

from dataclasses import replace

import pytest

from slo.load import LoadFacts, assess_load, user_seconds
from tests.slo.synthetic import BEGIN, MadeSample

LOAD = LoadFacts(model="open", begin=BEGIN, seconds=30.0, planned=4500.0)
SAMPLES = [MadeSample(f"{i:032x}", start=BEGIN + i / 150) for i in range(4500)]


def test_a_load_that_was_offered_as_planned_is_healthy():
    found = assess_load(LOAD, SAMPLES, 0.004, 0.8)
    assert (found.healthy, found.rate, found.requests) == (True, 150.0, 4500)


def test_a_load_that_was_not_offered_is_not_a_measurement():
    found = assess_load(LOAD, SAMPLES[:4400], None, 0.8)
    assert not found.healthy
    assert "offered 4400 of 4500 planned requests while virtual users were free" in found.problems[0]


def test_iterations_dropped_because_users_waited_are_the_shops_doing():
    assert assess_load(replace(LOAD, drops=((0.0, 60), (1.0, 40))), SAMPLES[:4400], None, 0.8).healthy


def test_a_client_that_waits_itself_is_not_a_measurement():
    found = assess_load(LOAD, SAMPLES, 0.21, 0.8)
    assert not found.healthy
    assert "210 ms above the server's" in found.problems[0]


def test_a_load_without_a_sample_is_not_a_measurement():
    assert assess_load(replace(LOAD, planned=None), [], None, None).problems == ("the load left no sample to judge",)


def test_what_the_wrapper_found_is_said_first_and_alone():
    found = assess_load(replace(LOAD, problems=("k6 crashed",)), [], None, 0.8)
    assert (found.healthy, found.problems) == (False, ("k6 crashed",))


def test_warm_up_is_reported_and_not_counted():
    warm = [replace(sample, warmup=True) for sample in SAMPLES[:750]]
    found = assess_load(LOAD, warm + SAMPLES, None, 0.8)
    assert (found.requests, found.warmup_requests) == (4500, 750)


def test_a_load_generator_that_waits_for_a_cpu_is_not_a_measurement():
    found = assess_load(replace(LOAD, cpu_wait=0.21), SAMPLES, None, 0.8)
    (said,) = found.problems
    assert said.startswith("a request waited 210 ms on average for the load generator to get a CPU, more than 25% of")


def test_where_the_servers_times_are_known_they_say_it_better():
    assert assess_load(replace(LOAD, cpu_wait=0.21), SAMPLES, 0.004, 0.8).healthy
    assert assess_load(replace(LOAD, cpu_wait=0.19), SAMPLES, None, 0.8).healthy


@pytest.mark.parametrize(
    ("points", "window", "integral"),
    [
        (((0, 10), (30, 50)), (0, 30), 900),
        (((0, 10), (30, 50)), (15, 30), 600),
        (((0, 10), (30, 50), (150, 200)), (0, 150), 900 + 15_000),
        (((1, 10), (29, 10)), (0, 30), 300),
        ((), (0, 30), 0),
    ],
)
def test_user_seconds_are_the_area_under_the_users(points, window, integral):
    assert user_seconds(points, *window) == pytest.approx(integral)
