"""`goshop dashboards`: Grafana's dashboards for a specification, listed or written."""

from collections.abc import Sequence
from pathlib import Path

import click

from dashboards.artefacts import built, rendered
from goshop.slo import SPECS
from slo.openslo.loading import load_specification


def run_dashboards(paths: Sequence[Path], folder: Path | None) -> None:
    """Print a line for each dashboard (uid, title, what it answers), or write them below a folder and print the paths.

    Raises `slo.openslo.loading.SpecificationError` and `OSError`.
    """
    boards = built(load_specification(paths or [SPECS]))
    if folder is None:
        width = max(len(board["uid"]) for board in boards)
        for board in boards:
            click.echo(f"{board['uid']:{width}}  {board['title']}: {board['description']}")
        return
    folder.mkdir(parents=True, exist_ok=True)
    for board in boards:
        path = folder / f"{board['uid']}.json"
        path.write_bytes(rendered(board))
        click.echo(path)
