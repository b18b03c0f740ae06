"""Every file that follows from a specification, by its path."""

from collections.abc import Iterable
from typing import Final

from slo.generation.alerts import Sites, alert_group
from slo.generation.k6 import thresholds_json
from slo.generation.model import Group, UnsayableError
from slo.generation.recording import recording_groups
from slo.generation.table import slo_table
from slo.generation.yaml_text import rules_yaml
from slo.openslo.model import Slo, Specification

HEAD: Final = "Generated from the specification by `goshop slo rules`: change that, not this."


def groups_of(slo: Slo, sites: Sites) -> tuple[Group, ...]:
    """Return all rules of an SLO."""
    return (*recording_groups(slo), *alert_group(slo, sites))


def prometheus_rules(specification: Specification, sites: Sites = Sites()) -> bytes:  # noqa: B008 - it can't be changed
    """Return the rules of all SLOs as one file.

    Raises `UnsayableError` where SLOs are read from several data sources: series that another Prometheus has are absent here.
    """
    if len(sources := _sources(specification)) > 1:
        named = ", ".join(source or "(not named)" for source in sorted(sources))
        raise UnsayableError(f"the SLOs are read from several data sources, {named}: write a file for each with --out")
    return _rules(specification.slos, sites)


def artefacts(specification: Specification, sites: Sites = Sites()) -> dict[str, bytes]:  # noqa: B008 - as above
    """Return what belongs into a folder: rules a service, thresholds a gate, and the table.

    Rules of several data sources stand in a folder for each. Raises `UnsayableError`.
    """
    apart = len(_sources(specification)) > 1
    rules: dict[str, list[Slo]] = {}
    for slo in specification.slos:
        source = f"{slo.sli.data_source}/" if apart and slo.sli.data_source else ""
        rules.setdefault(f"rules/{source}{slo.service}.yaml", []).append(slo)
    files = {name: _rules(slos, sites) for name, slos in rules.items()}
    files |= {f"k6/{gate.name}.json": thresholds_json(gate) for gate in specification.gates}
    return files | {"slo.md": slo_table(specification, HEAD)}


def _sources(specification: Specification) -> set[str]:
    return {slo.sli.data_source for slo in specification.slos}


def _rules(slos: Iterable[Slo], sites: Sites) -> bytes:
    return rules_yaml((group for slo in slos for group in groups_of(slo, sites)), HEAD)
