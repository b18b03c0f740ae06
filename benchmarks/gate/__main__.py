"""`python -m benchmarks.gate`: simulates, and writes results/gate.json, results/gate.md and docs/statistics.md.

`record` records runs of the real shop, and `recorded` compares them with each other.
"""

import signal
import sys
from pathlib import Path

import click

from benchmarks.gate import early, pool, recorded_report, table, tried
from benchmarks.gate.recorded import read_pool
from benchmarks.gate.report import Results, embed, stored

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "statistics.md"
RESULTS = ROOT / "benchmarks" / "results"
POOL = RESULTS / "gate_recorded_pool.json"
OK, NOT_MET, FAILED = 0, 1, 5
# And the signal's number.
STOPPED = 128


def say(line: str) -> None:
    """Tell of the progress."""
    click.echo(line, err=True)


@click.group(invoke_without_command=True)
@click.option("--releases", default=1000, show_default=True, help="Simulated releases in each cell.")
@click.option(
    "--results", type=click.Path(path_type=Path, file_okay=False), help="Another folder; docs/ is then left alone."
)
@click.pass_context
def main(context: click.Context, *, releases: int, results: Path | None) -> None:
    """Simulate releases before the gate's rule and k6's; exits with 1 when a criterion is not met."""
    if context.invoked_subcommand is None:
        _simulate(releases, results)


def _simulate(releases: int, results: Path | None) -> None:
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


@main.command()
@click.option("--runs", default=24, show_default=True, type=click.IntRange(2), help="Runs that are kept.")
@click.option(
    "--changed", default=10, show_default=True, type=click.IntRange(0), help="Runs after them, with a slow path."
)
@click.option("--seconds", default=25.0, show_default=True, type=click.FloatRange(2), help="Judged time of a run.")
@click.option("--warmup", default=5.0, show_default=True, type=click.FloatRange(1), help="Before each, not kept.")
@click.option("--out", default=POOL, type=click.Path(path_type=Path, dir_okay=False), help="Where the pool goes.")
def record(*, runs: int, changed: int, seconds: float, warmup: float, out: Path) -> None:
    """Record runs of the shop of this checkout; exits with 5 when they cannot be trusted. Leave the machine alone meanwhile."""
    # The shop's own packages are needed for this alone.
    from benchmarks.gate.recording import NotRecorded, Recording, record_pool  # noqa: PLC0415 - see above
    from goshop.processes import StartError  # noqa: PLC0415 - see above
    from loadtests import LoadError  # noqa: PLC0415 - see above

    asked = Recording(runs, changed, seconds, warmup)
    say(
        f"{runs} + {changed} runs of {seconds:g} s: about {asked.total_seconds / 60:.0f} minutes; Ctrl-C ends it and leaves nothing"
    )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        record_pool(asked, say).write(out)
    except (NotRecorded, StartError, LoadError, OSError) as error:
        say(f"nothing was recorded: {error}")
        sys.exit(FAILED)
    except KeyboardInterrupt as interrupt:
        say("stopped: nothing was recorded")
        sys.exit(STOPPED + getattr(interrupt, "number", signal.SIGINT))
    say(f"{out}: {out.stat().st_size / 1024:.0f} KB")


@main.command()
@click.option(
    "--pool",
    "source",
    default=POOL,
    type=click.Path(exists=True, path_type=Path, dir_okay=False),
    help="What `record` left.",
)
@click.option(
    "--draws", default=pool.DRAWS, show_default=True, type=click.IntRange(1), help="Random pairings of a row."
)
@click.option(
    "--results", type=click.Path(path_type=Path, file_okay=False), help="Another folder; docs/ is then left alone."
)
def recorded(*, source: Path, draws: int, results: Path | None) -> None:
    """Compare recorded runs with each other; exits with 1 when a criterion is not met."""
    runs = read_pool(source)
    say(f"{len(runs.runs)} runs, {draws} pairings a row")
    found = recorded_report.find(runs, draws)
    recorded_report.store(found, runs, results or RESULTS)
    if results is None:
        tables = found.markdown(f"../benchmarks/results/{recorded_report.NAME}.svg")
        DOCUMENT.write_text(embed(DOCUMENT.read_text(), tables, recorded_report.BEGIN, recorded_report.END))
    click.echo(found.markdown(f"{recorded_report.NAME}.svg"))
    sys.exit(NOT_MET if any(criterion.exceptions for criterion in found.criteria()) else OK)


main()
