"""Every file that follows from a specification, by its path."""

from pathlib import Path
from typing import Final

from slo.generation.alerts import Sites, alert_group
from slo.generation.k6 import thresholds_json
from slo.generation.model import Group
from slo.generation.recording import recording_groups
from slo.generation.table import slo_table
from slo.generation.yaml_text import rules_yaml
from slo.openslo.model import Slo, Specification

HEAD: Final = "Generated from the specification by `goshop slo rules`: change that, not this."


def groups_of(slo: Slo, sites: Sites) -> tuple[Group, ...]:
    """Return all rules of an SLO."""
    return (*recording_groups(slo), *alert_group(slo, sites))


def prometheus_rules(specification: Specification, sites: Sites = Sites()) -> bytes:  # noqa: B008 - it can't be changed
    """Return the rules of all SLOs as one file."""
    return rules_yaml((group for slo in specification.slos for group in groups_of(slo, sites)), HEAD)


def artefacts(specification: Specification, sites: Sites = Sites()) -> dict[str, bytes]:  # noqa: B008 - as above
    """Return what belongs into a folder: rules a service, thresholds a gate, and the table.

    Raises `slo.generation.k6.UnsayableError`.
    """
    services = dict.fromkeys(slo.service for slo in specification.slos)
    files = {f"rules/{service}.yaml": _rules_of(service, specification, sites) for service in services}
    files |= {f"k6/{gate.name}.json": thresholds_json(gate) for gate in specification.gates}
    return files | {"slo.md": slo_table(specification, HEAD)}


def write(files: dict[str, bytes], folder: Path) -> tuple[Path, ...]:
    """Write the files below a folder and return their paths; raises `OSError`. Other files are left alone."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tuple(folder / name for name in files)


def _rules_of(service: str, specification: Specification, sites: Sites) -> bytes:
    slos = [slo for slo in specification.slos if slo.service == service]
    return rules_yaml((group for slo in slos for group in groups_of(slo, sites)), HEAD)
