"""The table of docs/statistics.md: what is committed is what the simulations give, and shows what it must."""

import math
import subprocess
import sys
from itertools import permutations
from pathlib import Path
from random import Random
from statistics import fmean

import pytest

from benchmarks.gate import early, findings, pool, table, tried
from benchmarks.gate.order import order
from benchmarks.gate.report import BEGIN, END, embed, read
from benchmarks.gate.rules import Release, k6_abort, k6_threshold, ours, simulate
from benchmarks.gate.streams import EACH, PATTERNS, RATE, STEP, binomial, release, sampled

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "statistics.md"
RESULTS = ROOT / "benchmarks" / "results"
STORED = read(RESULTS / "gate.json")
BY_NAME = {pattern.name: pattern for pattern in PATTERNS}
# A different mathematical library may tip a few releases of a thousand.
LIBRARY = 0.005


def place(cell):
    return cell.rule, cell.pattern, cell.share, cell.seconds


def test_the_committed_results_are_of_a_thousand_releases_a_cell_and_show_what_they_must() -> None:
    assert STORED.releases == 1000
    assert [c for c in STORED.criteria() if c.exceptions] == []
    assert len(STORED.cells) == len(PATTERNS) * len(table.SHARES) * len(table.SECONDS) * 3


def test_the_document_and_the_results_show_the_same_tables() -> None:
    text = DOCUMENT.read_text()
    assert embed(text, STORED.markdown()) == text
    assert (RESULTS / "gate.md").read_text().endswith(STORED.markdown())


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.name)
def test_the_first_releases_of_every_cell_are_judged_again_as_it_is_committed(pattern) -> None:
    stored = {place(cell): cell.first for cell in STORED.cells if cell.pattern == pattern.name}
    again = {place(cell): cell.first for cell in table.cells(table.KEPT, [pattern])}
    assert again == stored


def test_a_whole_cell_simulated_again_gives_the_committed_figures() -> None:
    stored = {place(cell): cell for cell in STORED.cells}
    for cell in table.cells(STORED.releases, [BY_NAME["correlated"]], [0.011]):
        was = stored[place(cell)]
        found = (cell.passed, cell.failed, cell.inconclusive)
        assert found == pytest.approx((was.passed, was.failed, was.inconclusive), abs=LIBRARY)
        assert cell.requests == pytest.approx(was.requests, rel=LIBRARY)


@pytest.mark.parametrize(("count", "p"), [(75, 0.01), (75, 0.3), (75, 0.9), (5, 0.5)])
def test_the_draws_are_binomial(count: int, p: float) -> None:
    dice = Random(1)  # noqa: S311 - the same draws every time
    drawn = [binomial(dice, count, p) for _ in range(20_000)]
    assert fmean(drawn) == pytest.approx(count * p, abs=4 * math.sqrt(count * p * (1 - p) / 20_000))
    for value in range(count + 1):
        expected = math.comb(count, value) * p**value * (1 - p) ** (count - value)
        assert drawn.count(value) / 20_000 == pytest.approx(expected, abs=4 * math.sqrt(0.25 / 20_000))


@pytest.mark.parametrize(("p", "drawn"), [(0.0, 0), (1.0, 75)])
def test_certainties_are_drawn_as_such(p: float, drawn: int) -> None:
    assert binomial(Random(1), 75, p) == drawn  # noqa: S311 - any draw


@pytest.mark.parametrize("pattern", [*tried.STREAMS, early.LONG_STALLS], ids=lambda pattern: pattern.name)
def test_every_pattern_has_the_share_that_it_says(pattern) -> None:
    bad = [sum(release(pattern, 0.011, number, 600)) for number in range(100)]
    assert fmean(bad) / (600 * RATE) == pytest.approx(0.011, rel=0.1)


def made(*bad_of_step: int) -> Release:
    return Release(bad_of_step)


def test_k6_fails_a_release_at_exactly_the_limit() -> None:
    steps = int(30 / STEP)
    assert k6_threshold(made(45, *[0] * (steps - 1)), 30).verdict == "fail"
    assert k6_threshold(made(44, *[0] * (steps - 1)), 30).verdict == "pass"


def test_abort_on_fail_ends_at_the_first_look_that_fails_and_sends_no_more() -> None:
    steps = int(30 / STEP)
    found = k6_abort(made(0, 0, 0, 0, 0, 0, 0, 6, *[0] * (steps - 8)), 30)
    assert (found.verdict, found.requests) == ("fail", 4 * RATE)
    assert k6_abort(made(2, *[0] * (steps - 1)), 30).verdict == "pass"


def test_ours_stops_an_outage_after_three_blocks() -> None:
    found = ours(made(*[EACH] * int(60 / STEP)), 60)
    assert (found.verdict, found.requests) == ("fail", 15 * RATE)


def test_a_release_is_the_same_every_time_and_another_number_is_another_release() -> None:
    again = [simulate(PATTERNS[1], 0.011, number, 30) for number in (1, 1, 2)]
    assert again[0] == again[1] != again[2]


def test_the_early_stop_ends_the_first_releases_when_it_is_committed_to() -> None:
    stored = {(c.divisor, c.fewest_bad_blocks): c for c in STORED.choices}
    for choice in early.choices(early.KEPT):
        was = stored[choice.divisor, choice.fewest_bad_blocks]
        assert choice.first == was.first
        assert (choice.stops["20%"], choice.stops["100%"]) == (was.stops["20%"], was.stops["100%"])
    assert stored[5.0, 3].stops["100%"] == 15
    assert stored[1.0, 1].first["stalls of 3 s, one in 60 s"] != stored[5.0, 3].first["stalls of 3 s, one in 60 s"]


def test_what_was_tried_says_the_same_of_the_first_releases_again() -> None:
    found = list(tried.attempts(tried.KEPT))
    assert [(a.variant, a.pattern, a.share, a.seconds, a.first) for a in found] == [
        (a.variant, a.pattern, a.share, a.seconds, a.first) for a in STORED.attempts
    ]


def test_the_blocks_of_the_rule_are_no_more_often_wrong_than_fewer_and_decide_more() -> None:
    by_variant = {
        name: [a for a in STORED.attempts if a.variant == name and a.seconds == 600] for name in tried.VARIANTS
    }
    before, now = by_variant["6 to 8 blocks (before)"], by_variant["to 16 blocks of 30 s (ours)"]
    assert max(a.wrong for a in now) <= 0.025
    assert sum(a.right for a in now) > sum(a.right for a in before)


def test_samples_hold_each_value_once_in_any_order_as_often_and_the_same_ones_every_time() -> None:
    dice = Random(1)  # noqa: S311 - the same draws every time
    drawn = [tuple(sampled(dice, "abcd", 2)) for _ in range(12_000)]
    assert all(drawn.count(pair) == pytest.approx(1000, abs=130) for pair in permutations("abcd", 2))
    assert len(set(drawn)) == 12
    # What any Python draws: random() alone is promised to be the same in each.
    assert sampled(Random(0), range(10), 4) == [8, 7, 5, 4]  # noqa: S311 - as committed
    assert sampled(Random(0), "abc", 0) == []  # noqa: S311 - nothing is drawn
    with pytest.raises(ValueError, match="4 cannot be drawn from 3"):
        sampled(dice, "abc", 4)


def test_no_figure_depends_on_how_a_python_samples() -> None:
    pool_of = pool.synthetic_pool(0.06, runs=20, requests=200)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("sample", "shuffle", "choice", "choices", "randrange", "randint", "getrandbits", "gauss"):
            patch.setattr(Random, name, None)
        assert list(pool.tallies("few", pool_of, draws=1))
        assert list(findings.rows(pool_of, pool_of, draws=1))
        assert order(findings.p99_logs(pool_of), tries=2).noise


def test_pairings_of_a_pool_find_what_is_stated_and_no_more_than_that() -> None:
    stored = {(t.pool, t.change, t.design): t for t in STORED.tallies}
    for tally in pool.tallies("noise 6%", pool.synthetic_pool(0.06), draws=200):
        was = stored[tally.pool, tally.change, tally.design]
        assert tally.first == was.first
        assert tally.noise == pytest.approx(was.noise)
        assert tally.stated == (was.stated if was.stated is None else pytest.approx(was.stated))
        # Another number of draws: three standard errors.
        assert tally.latency == pytest.approx(was.latency, abs=0.11)


def test_the_committed_pairings_have_about_the_nominal_share_of_regressions_and_the_stated_power() -> None:
    for tally in STORED.tallies:
        if tally.stated is not None:
            assert tally.latency == pytest.approx(tally.stated, abs=0.06)
        if tally.change == "none":
            assert tally.either <= 0.05


def test_more_runs_are_drawn_than_a_pool_has() -> None:
    few = pool.synthetic_pool(0.06, runs=19, requests=200)
    with pytest.raises(ValueError, match="20 cannot be drawn from 19"):
        pool.pairings(few, few, pool.STRICT, draws=1)


def test_a_document_without_a_place_for_the_tables_is_refused() -> None:
    assert embed(f"before\n{BEGIN}old\n{END}after\n", "new") == f"before\n{BEGIN}\nnew\n{END}after\n"
    with pytest.raises(ValueError, match="no place"):
        embed("before\n", "new")


def test_the_command_leaves_its_results_where_it_is_told_to(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gate", "--releases", "2", "--results", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    # Two releases a cell may well miss a criterion.
    assert done.returncode in {0, 1}, done.stderr
    assert read(tmp_path / "gate.json").releases == 2
    assert (tmp_path / "gate.md").read_text().endswith(done.stdout.removesuffix("\n"))
