"""`goshop slo`: what can be done with a specification without a shop."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from slo.generation.alerts import Sites
from slo.generation.artefacts import artefacts, prometheus_rules
from slo.generation.folder import remove_stale, write
from slo.openslo.loading import SpecificationError, load_specification
from slo.openslo.model import Specification
from telemetry.conventions import BOUND_LABEL

SPECS: Final = Path(__file__).parents[1] / "slo" / "specs"


def run_check(paths: Sequence[Path], *, machine: bool) -> bool:
    """Print every fault of a specification on stdout, a line each or as JSON; return whether there is none."""
    try:
        specification = load_specification(paths or [SPECS])
    except SpecificationError as error:
        if machine:
            click.echo(json.dumps([asdict(fault) for fault in error.faults], indent=2, ensure_ascii=False))
        else:
            click.echo("\n".join(error.messages))
        click.echo(f"goshop: {_number(len(error.faults), 'fault')}", err=True)
        return False
    click.echo("[]" if machine else _summary(specification))
    _say_edges(specification)
    return True


def run_rules(paths: Sequence[Path], sites: Sites, folder: Path | None) -> None:
    """Print the rules of a specification on stdout, or make a folder hold everything that follows from it.

    Raises `SpecificationError`, `slo.generation.model.UnsayableError` and `OSError`.
    """
    specification = load_specification(paths or [SPECS])
    if folder is None:
        click.echo(prometheus_rules(specification, sites).decode(), nl=False)
    else:
        files = artefacts(specification, sites)
        for path in write(files, folder):
            click.echo(path)
        for path in remove_stale(files, folder):
            click.echo(f"goshop: removed {path}: nothing leads to it any more", err=True)
    _say_relative_links(specification, sites)
    _say_edges(specification)


def _say_relative_links(specification: Specification, sites: Sites) -> None:
    """Say that a link from "/" on leads nowhere from the message of an alert, where nobody named its site."""
    alerting = [slo for slo in specification.slos if slo.alerts]
    links = (
        ("--runbooks", sites.runbooks, [slo.runbook for slo in alerting]),
        ("--dashboards", sites.dashboards, [slo.dashboard for slo in alerting]),
    )
    for option, site, linked in links:
        count = sum(link.startswith("/") for link in linked)
        if count and not site:
            said = (
                f"alerts of {_number(count, 'SLO')} have a link that begins with '/' and leads nowhere from a message"
            )
            click.echo(f"goshop: {said}: name the site with {option} URL", err=True)


def _say_edges(specification: Specification) -> None:
    """Say which edges of others' buckets are stored otherwise by Prometheus 3, which keeps them as floats.

    It is no fault: Prometheus 2 keeps them as the client spells them, and nobody here knows which one there is.
    """
    for slo in specification.slos:
        edges = slo.sli.events.of(BOUND_LABEL) if slo.sli.foreign else ()
        for spelled, stored in ((edge.value, repr(float(edge.value))) for edge in edges):
            if spelled != stored:
                said = (
                    f'{slo.name} selects {BOUND_LABEL}="{spelled}" of series that are not the shop\'s: from version 3 on '
                    f'Prometheus stores that edge as "{stored}", and nothing is selected'
                )
                click.echo(f"goshop: {said}", err=True)


def _summary(specification: Specification) -> str:
    parts = (
        _number(len(specification.services), "service"),
        _number(len(specification.slos), "SLO"),
        _number(len(specification.gates), "release gate"),
    )
    return f"{', '.join(parts)}: nothing to mend"


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
