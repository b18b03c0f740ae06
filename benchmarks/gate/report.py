"""The results as JSON, and as the tables that docs/statistics.md shows."""

import json
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.gate import early, pool, table, tried
from benchmarks.gate.early import Choice
from benchmarks.gate.pool import SyntheticTally
from benchmarks.gate.rules import RULES
from benchmarks.gate.streams import PATTERNS, RATE
from benchmarks.gate.table import SHARES, Cell, Criterion, is_promised
from benchmarks.gate.tried import Attempt
from slo.early_stop import DIVISOR, FEWEST_BAD_BLOCKS

BEGIN: Final = "<!-- made by python -m benchmarks.gate: begin -->\n"
END: Final = "<!-- made by python -m benchmarks.gate: end -->\n"
FALSE_STOPS_AT_MOST: Final = 0.005
# What the two numbers of the early stop are held to; the longer stalls are shown beside.
HELD: Final = (
    *(pattern.name for pattern in PATTERNS),
    *(f"{pattern.name}, 1.1 %" for pattern in PATTERNS),
    "pause of 2 s",
)


@dataclass(frozen=True, slots=True)
class Results:
    """All that was simulated, `releases` a cell."""

    releases: int
    cells: list[Cell]
    choices: list[Choice]
    attempts: list[Attempt]
    tallies: list[SyntheticTally]

    def criteria(self) -> tuple[Criterion, ...]:
        """Return what must be shown, each with where it was not."""
        return (*table.criteria(self.cells), _early_criterion(self.choices))

    def json(self) -> str:
        """Return the results as a JSON document."""
        document = {
            "releases": self.releases,
            "rate": RATE,
            "python": platform.python_version(),
            "criteria": [asdict(criterion) for criterion in self.criteria()],
            "cells": [asdict(each) for each in self.cells],
            "early_stop": [asdict(each) for each in self.choices],
            "tried": [asdict(each) for each in self.attempts],
            "pairings": [asdict(each) for each in self.tallies],
        }
        return json.dumps(document, indent=1) + "\n"

    def markdown(self) -> str:
        """Return the tables."""
        parts = (
            _criteria_part(self.criteria()),
            *(_pattern_part(self.cells, pattern.name, pattern.words) for pattern in PATTERNS),
            _early_part(self.choices),
            _tried_part(self.attempts),
            _pairings_part(self.tallies),
        )
        return "\n".join(parts)


def read(path: Path) -> Results:
    """Return the results that a JSON document holds."""
    document = json.loads(path.read_text())
    return Results(
        document["releases"],
        [Cell(**row) for row in document["cells"]],
        [Choice(**row) for row in document["early_stop"]],
        [Attempt(**row) for row in document["tried"]],
        [SyntheticTally(**row) for row in document["pairings"]],
    )


def embed(text: str, tables: str, begin: str = BEGIN, end: str = END) -> str:
    """Return a document with the tables between two marks; raises `ValueError` when it has none."""
    before, _, rest = text.partition(begin)
    _, mark, after = rest.partition(end)
    if not mark:
        raise ValueError("the document has no place for the tables")
    return f"{before}{begin}\n{tables}\n{end}{after}"


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is text, the others are figures."""
    lines = (head, ["---", *["---:"] * (len(head) - 1)], *rows)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def percent(share: float) -> str:
    """Write a share in per cent: 0 and 100 only when it is exactly that."""
    return f"{share * 100:.0f}" if share in {0, 1} else f"{share * 100:.1f}"


def _early_criterion(choices: Sequence[Choice]) -> Criterion:
    (chosen,) = (c for c in choices if (c.divisor, c.fewest_bad_blocks) == (DIVISOR, FEWEST_BAD_BLOCKS))
    excess = {name: chosen.false_stops[name] for name in HELD if chosen.false_stops[name] > FALSE_STOPS_AT_MOST}
    return Criterion(
        f"the early stop ends at most {FALSE_STOPS_AT_MOST:.1%} of the releases with at most 1.1 % bad of the three patterns, "
        "or with one pause of 2 s (not so where stalls last 3 s: see its table)",
        tuple(f"{name}: {share:.1%}" for name, share in excess.items()),
    )


def _criteria_part(criteria: Sequence[Criterion]) -> str:
    lines = (f"- {c.words}: {'**not met**: ' + '; '.join(c.exceptions) if c.exceptions else 'met'}" for c in criteria)
    return "### What was to be shown\n\n" + "\n".join(lines) + "\n"


def _pattern_part(cells: Sequence[Cell], name: str, words: str) -> str:
    places = sorted({cell.seconds for cell in cells})
    rows = [_row([c for c in cells if (c.pattern, c.seconds, c.rule) == (name, s, r)]) for s in places for r in RULES]
    head = ["run and rule", *(f"{share:.1%}: wrong / open" for share in SHARES), "requests (good)", "requests (bad)"]
    return f"### {name.capitalize()}: {words}\n\n{grid(head, rows)}"


def _row(cells: Sequence[Cell]) -> list[str]:
    by_share = {cell.share: cell for cell in cells}
    first = cells[0]
    mark = "" if is_promised(first) else " *"
    outcomes = [f"{percent(by_share[s].wrong)} / {percent(by_share[s].inconclusive)}" for s in SHARES]
    good, bad = SHARES[:2], SHARES[2:]
    requests = [f"{sum(by_share[s].requests for s in side) / len(side):,.0f}" for side in (good, bad)]
    return [f"{first.seconds} s{mark}, {first.rule}", *outcomes, *requests]


def _early_part(choices: Sequence[Choice]) -> str:
    streams, gross = list(choices[0].false_stops), list(choices[0].stops)
    head = ["counts / n, bad blocks", *streams, *(f"s to stop at {share}" for share in gross)]
    rows = (
        [
            f"{c.divisor:g}, {c.fewest_bad_blocks}",
            *(percent(c.false_stops[name]) for name in streams),
            *(f"{c.stops[name]:g}" if c.stops[name] else "never" for name in gross),
        ]
        for c in choices
    )
    return f"### Early stop: stopped within {early.SECONDS} s, in per cent\n\n{grid(head, rows)}"


def _tried_part(attempts: Sequence[Attempt]) -> str:
    found = {(a.variant, a.pattern, a.share, a.seconds): a for a in attempts}
    columns = [(pattern.name, share) for pattern in tried.STREAMS for share in tried.SHARES]
    head = ["run and variant", *(f"{name} {share:.1%}" for name, share in columns)]
    rows = (
        [f"{s} s, {v}", *(_tried_cell(found[v, name, share, s]) for name, share in columns)]
        for s in tried.SECONDS
        for v in tried.VARIANTS
    )
    return f"### What was tried: wrong / right, in per cent\n\n{grid(head, rows)}"


def _tried_cell(attempt: Attempt) -> str:
    return f"{percent(attempt.wrong)} / {percent(attempt.right)}"


def _pairings_part(tallies: Sequence[SyntheticTally]) -> str:
    head = ["pool, design", "change", "P99", "stated", "slow share", "either", "reassured"]
    rows = (
        [
            f"{t.pool}, {t.design}",
            t.change,
            *("" if v is None else percent(v) for v in (t.latency, t.stated, t.slow, t.either, t.none)),
        ]
        for t in tallies
    )
    title = f"### Random pairings of {pool.RUNS} synthetic runs: regressions seen, in per cent of the pairings"
    return f"{title}\n\n{grid(head, rows)}"


def stored(made: Results, folder: Path) -> dict[str, Any]:
    """Write gate.json and gate.md into a folder and return their paths by suffix."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {"json": folder / "gate.json", "md": folder / "gate.md"}
    paths["json"].write_text(made.json())
    paths["md"].write_text(f"# The gate's rule on simulated releases\n\n{made.markdown()}")
    return paths
