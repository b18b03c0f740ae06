"""`python -m benchmarks.gate`: simulates, and writes results/gate.json, results/gate.md and docs/statistics.md."""

import sys
from pathlib import Path

import click

from benchmarks.gate import early, pool, table, tried
from benchmarks.gate.report import Results, embed, stored

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "statistics.md"
RESULTS = ROOT / "benchmarks" / "results"
OK, NOT_MET = 0, 1


def say(line: str) -> None:
    """Tell of the progress."""
    click.echo(line, err=True)


@click.command()
@click.option("--releases", default=1000, show_default=True, help="Simulated releases in each cell.")
@click.option(
    "--results", type=click.Path(path_type=Path, file_okay=False), help="Another folder; docs/ is then left alone."
)
def main(*, releases: int, results: Path | None) -> None:
    """Simulate releases before the gate's rule and k6's; exits with 1 when a criterion is not met."""
    say(f"{releases} releases a cell: the three rules")
    cells = list(table.cells(releases))
    say("the early stop")
    choices = list(early.choices(releases))
    say("what was tried")
    attempts = list(tried.attempts(releases))
    say("random pairings")
    made = Results(releases, cells, choices, attempts, list(pool.synthetic_tallies(releases)))
    stored(made, results or RESULTS)
    if results is None:
        DOCUMENT.write_text(embed(DOCUMENT.read_text(), made.markdown()))
    click.echo(made.markdown())
    sys.exit(NOT_MET if any(criterion.exceptions for criterion in made.criteria()) else OK)


main()
