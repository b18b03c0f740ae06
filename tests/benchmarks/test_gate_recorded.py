"""Recorded runs of the shop: what is committed is what they give again, and shows what it must."""

import math
import os
import signal
import subprocess
import sys
from dataclasses import astuple, replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.gate import findings, limits, recorded_report
from benchmarks.gate.bystanders import Bystanders, own_seconds
from benchmarks.gate.order import order
from benchmarks.gate.pool import pairings, synthetic_pool
from benchmarks.gate.recorded import Pool, RecordedRun, pack, pack_numbers, read_pool, unpack, unpack_numbers
from benchmarks.gate.recorded_caveats import caveats, chance
from benchmarks.gate.report import embed
from benchmarks.gate.streams import normal, sampled
from slo.pairs import STRICT, WITH_MARGIN, Run

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "statistics.md"
RESULTS = ROOT / "benchmarks" / "results"
SOURCE = RESULTS / "gate_recorded_pool.json"
AGAIN = 20


@pytest.fixture(scope="module")
def pool() -> Pool:
    return read_pool(SOURCE)


@pytest.fixture(scope="module")
def stored(pool: Pool) -> recorded_report.Recorded:
    assert pool.runs
    return recorded_report.read(RESULTS / "gate_recorded.json")


def test_the_committed_pool_is_of_24_healthy_runs_of_one_release_and_small(pool) -> None:
    assert len(pool.runs) >= 24
    assert len(pool.changed) >= 10
    assert SOURCE.stat().st_size < 400_000
    for run in (*pool.runs, *pool.changed):
        assert len(run.seconds()) == pytest.approx(pool.rate * pool.seconds, rel=0.01)
        assert run.failed <= 0.001 * len(run.seconds())
        assert run.others <= 0.1


def test_a_recorded_run_holds_the_shop_s_mix(pool) -> None:
    numbers = unpack_numbers(pool.runs[0].endpoints, 1)
    shares = {pool.endpoints[each]: numbers.count(each) / len(numbers) for each in set(numbers)}
    assert shares["GET /api/products"] == pytest.approx(0.5, abs=0.02)
    assert shares["POST /api/login"] == pytest.approx(0.02, abs=0.02)


def test_the_first_pairings_of_every_row_say_again_what_is_committed(pool, stored) -> None:
    again = list(findings.rows(of(pool.runs), of(pool.changed), draws=AGAIN))
    assert [(row.change, row.pairing, row.design, row.first) for row in again] == [
        (row.change, row.pairing, row.design, row.first) for row in stored.rows
    ]
    for row, was in zip(again, stored.rows, strict=True):
        assert row.stated == (was.stated if was.stated is None else pytest.approx(was.stated))
        assert row.slow_stated == pytest.approx(was.slow_stated)


def of(runs: list[RecordedRun]) -> list[Run]:
    return [run.run() for run in runs]


def test_the_curve_of_increases_found_is_the_committed_one(pool, stored) -> None:
    runs = of(pool.runs)
    again = [
        *findings.curve(runs, stored.draws),
        *findings.at_power(runs, stored.draws),
        *findings.alarms(runs, stored.draws),
    ]
    for point, was in zip(again, (*stored.points, *stored.powers, *stored.alarms), strict=True):
        assert point.design == was.design
        assert point.increase == pytest.approx(was.increase)
        assert (point.found, point.stated) == pytest.approx((was.found, was.stated), abs=0.005)


def test_what_the_order_and_the_limits_say_is_the_committed_one(pool, stored) -> None:
    for figure, was in zip(recorded_report.figures(of(pool.runs)), stored.figures, strict=True):
        assert figure.name == was.name
        assert (figure.low, figure.middle, figure.high) == pytest.approx((was.low, was.middle, was.high))
        assert astuple(figure.order) == pytest.approx(astuple(was.order), abs=0.002)
    for limit, was in zip(
        limits.limits([run.seconds() for run in pool.runs], pool.seconds), stored.limits, strict=True
    ):
        assert astuple(limit) == pytest.approx(astuple(was))


def test_the_committed_findings_show_what_they_must(stored) -> None:
    assert [criterion for criterion in stored.criteria() if criterion.exceptions] == []
    assert stored.draws == 1000


def test_a_comparison_that_finds_nothing_does_not_show_what_it_must(stored) -> None:
    blind = replace(
        stored,
        rows=[replace(row, latency=0.0, slow=0.0, either=0.0) for row in stored.rows],
        alarms=[replace(point, found=0.0) for point in stored.alarms],
        powers=[replace(point, found=0.0) for point in stored.powers],
    )
    assert [point.stated for point in stored.powers] == pytest.approx([0.8, 0.8])
    # All but that of the P99's false alarms of 10 pairs, which would be none.
    assert len([criterion for criterion in blind.criteria() if criterion.exceptions]) >= 3


def test_the_tables_say_what_the_pool_cannot_show(stored) -> None:
    said = [words.split(":")[0].split(",")[0] for words in caveats_of(stored)]
    assert said[:2] == ["Noisy", "With a trend"]
    assert any("6 pairs" in words and "though" in words for words in caveats_of(stored))


def test_a_quiet_pool_without_a_trend_needs_no_words() -> None:
    quiet = recorded_report.figures(synthetic_pool(0.06, requests=1000))
    assert list(caveats(quiet, [], [], [])) == []


def caveats_of(found: recorded_report.Recorded) -> list[str]:
    return list(caveats(found.figures, found.rows, found.powers, found.limits))


@pytest.mark.parametrize(("p", "words"), [(1 / 2001, "< 0.001"), (0.0034, "0.003"), (0.01, "0.01"), (1.0, "1.00")])
def test_no_p_is_written_as_0(p: float, words: str) -> None:
    assert chance(p) == words


def test_the_document_the_page_and_the_picture_show_the_same_findings(pool, stored) -> None:
    text = DOCUMENT.read_text()
    tables = stored.markdown("../benchmarks/results/gate_recorded.svg")
    assert embed(text, tables, recorded_report.BEGIN, recorded_report.END) == text
    assert (RESULTS / "gate_recorded.md").read_text().endswith(stored.markdown("gate_recorded.svg"))
    assert (RESULTS / "gate_recorded.svg").read_text() == recorded_report.drawn(stored, pool)


@given(st.lists(st.integers(0, 16_777_214) | st.just(math.inf)))
def test_latencies_come_back_to_ten_microseconds_and_lost_answers_as_such(units) -> None:
    seconds = [unit / 1e5 for unit in units]
    assert unpack(pack(seconds)) == seconds


def test_a_latency_beyond_what_can_be_kept_is_long_and_not_a_lost_answer() -> None:
    assert unpack(pack([300.0, math.inf])) == [167.77214, math.inf]


def test_a_pool_is_written_a_line_for_each_run_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "pool.json"
    few = made_pool(synthetic_pool(0.06, runs=3, requests=200))
    few.write(path)
    assert read_pool(path) == few
    assert [line.startswith('  {"started"') for line in path.read_text().splitlines()].count(True) == 3
    assert [each.name for each in tmp_path.iterdir()] == ["pool.json"]


def made_pool(runs: list[Run]) -> Pool:
    made = [
        RecordedRun(
            started=32.0 * number,
            failed=0,
            cpu_share=0.1,
            others=0.01,
            cpu_wait=None,
            latencies=pack(sampled(Random(number), run.ranked, len(run.ranked))),  # noqa: S311 - the same order every time
            endpoints=pack_numbers([0] * len(run.ranked), 1),
        )
        for number, run in enumerate(runs)
    ]
    machine = {"cpu": "one", "cores": "2", "system": "Linux", "python": "CPython", "date": "2026-11-23"}
    return Pool(
        machine=machine,
        commit="unknown",
        k6="v1.1.0",
        rate=150.0,
        seconds=len(runs[0].ranked) / 150,
        warmup=1.0,
        endpoints=["GET /"],
        refused=[],
        runs=made,
    )


def test_the_curve_takes_the_same_pairings_as_the_rows() -> None:
    pool = synthetic_pool(0.06, requests=1000)
    for design in (STRICT, WITH_MARGIN):
        said = [each.latency for each in pairings(pool, pool, design, draws=100)]
        found = sum(each is not None and each.regression == "yes" for each in said) / 100
        assert findings.found_share(findings.p99_logs(pool), design, 0.0, 100) == found


@pytest.mark.parametrize("runs", [20, 21, 24])
def test_neighbours_are_one_run_apart_and_none_is_used_twice(runs: int) -> None:
    # Runs that are told apart by their latency.
    pool = [Run.of([float(number + 1)] * 200) for number in range(runs)]
    for drawn in findings.neighbour_pairs(pool, pool, STRICT, 50):
        places = [(pair.baseline.ranked[0], pair.candidate.ranked[0]) for pair in drawn]
        assert {abs(left - right) for left, right in places} == {1}
        assert len({place for pair in places for place in pair}) == 20


def test_a_trend_is_seen_and_makes_neighbours_alike() -> None:
    found = order([0.01 * number + 0.01 * (number % 2) for number in range(24)])
    assert found.trend == pytest.approx(math.expm1(0.23), rel=0.1)
    # What was seen is one of the tries itself.
    assert (found.trend_p, found.alike_p) == (1 / 2001, 1 / 2001)
    assert found.neighbours < found.noise / 3


def test_runs_without_an_order_are_seen_as_such_and_an_outlier_as_not_normal() -> None:
    dice = Random(3)  # noqa: S311 - the same runs every time
    values = [0.05 * normal(dice) for _ in range(24)]
    found = order(values)
    assert min(found.trend_p, found.alike_p, found.normal_p) > 0.05
    assert order([*values[:-1], 1.0]).normal_p < 0.01


def test_runs_of_which_none_has_a_slow_request_are_told_of_all_the_same(tmp_path: Path) -> None:
    # Nothing is slower than a quarter above the P99.5.
    even = made_pool([Run.of(number * scale for number in range(1, 451)) for scale in (1e-4, 1.01e-4, 1.02e-4) * 7])
    found = recorded_report.find(even, draws=2)
    recorded_report.store(found, even, tmp_path)
    assert found.figures[2].high == 0
    assert found.figures[2].order == order([0.0] * 3)
    assert recorded_report.read(tmp_path / "gate_recorded.json") == found


def test_a_limit_is_judged_by_blocks_of_the_runs_in_their_order() -> None:
    even = [1.0 if number % 100 == 0 else 0.0 for number in range(4500)]
    uneven = [1.0] * 45 + [0.0] * 4455
    found = {limit.share: limit for limit in limits.limits([even, uneven], 30.0)}
    # Both have exactly 1 % above 0: k6's rule fails both, ours leaves both open.
    assert (found[0.011].k6_wrong, found[0.011].inconclusive, found[0.011].limit) == (0, 2, 0.0)
    assert found[0.011].effect > 5
    assert found[0.002].limit == 1.0


BURN = "import time\nwhile time.process_time() < 0.5: pass"


def test_what_children_use_is_our_own_while_they_live_and_afterwards() -> None:
    before = own_seconds()
    script = f"{BURN}\nprint(flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        alive = own_seconds()
        child.communicate(b"\n")
    assert alive >= before + 0.45
    assert own_seconds() >= alive


def test_what_others_use_is_a_share_of_the_machine() -> None:
    watch = Bystanders()
    subprocess.run([sys.executable, "-c", BURN], check=True)
    assert 0 <= watch.share() <= 1


def test_the_command_says_when_the_pool_is_too_slow_for_its_criteria_and_leaves_the_document_alone(
    tmp_path: Path,
) -> None:
    noisy = tmp_path / "pool.json"
    made_pool(synthetic_pool(0.5, requests=200)).write(noisy)
    before = DOCUMENT.read_text()
    command = [sys.executable, "-m", "benchmarks.gate", "recorded", "--pool", str(noisy), "--draws", "5"]
    done = subprocess.run([*command, "--results", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "**not met**: 1 in 300" in done.stdout
    assert recorded_report.read(tmp_path / "gate_recorded.json").draws == 5
    assert DOCUMENT.read_text() == before


def test_without_k6_nothing_is_started_and_the_reason_is_said(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gate", "record", "--runs", "2", "--out", str(tmp_path / "pool.json")]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={"K6": str(tmp_path / "none"), "PATH": ""}
    )
    assert done.returncode == 5
    assert "nothing was recorded: k6 is missing" in done.stderr
    assert "PostgreSQL" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_recording_that_is_ended_says_so_by_the_signal_and_leaves_nothing(number: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gate", "record", "--runs", "2", "--out", "pool.json"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("PostgreSQL" in line for line in process.stderr)
        process.send_signal(number)
        said = process.stderr.read()
    assert process.returncode == 128 + number
    assert said.endswith("stopped: nothing was recorded\n")
    assert list(tmp_path.rglob("*.json")) == []
    assert list((tmp_path / ".goshop" / "runs").iterdir()) == []
