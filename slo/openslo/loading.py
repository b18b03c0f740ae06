"""Reads specifications: files and folders in, the model out, or every fault of all of them at once."""

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from slo import schema
from slo.gates import Gate
from slo.openslo.alerts import read_alert_document, read_condition_document
from slo.openslo.documents import (
    KINDS,
    OUTSIDE_KINDS,
    AlertConditionDocument,
    AlertPolicyDocument,
    AnyDocument,
    DataSourceDocument,
    ReleaseGateDocument,
    ServiceDocument,
    SliDocument,
    SloDocument,
)
from slo.openslo.entries import Entry, Findings, Place
from slo.openslo.metadata import ANNOTATED
from slo.openslo.model import Slo, Specification
from slo.openslo.release_gates import read_gate
from slo.openslo.resolving import (
    Parts,
    read_data_source,
    read_indicator,
    read_service,
    read_slo,
)
from slo.strict_yaml import BEGIN, Document, StrictYamlError, fault_at, parse_documents, read_documents

D = TypeVar("D", bound=AnyDocument)
R = TypeVar("R")
# Where JavaScript's packages lie, which have YAML of their own.
PACKAGES: Final = "node_modules"
SUFFIXES: Final = frozenset({".yaml", ".yml"})


class SpecificationError(StrictYamlError):
    """A specification can't be used; `faults` has every fault, in order of files, lines and columns."""


def load_specification(paths: Iterable[Path]) -> Specification:
    """Read files, and every *.yaml and *.yml below folders, as one specification; a file named twice is read once.

    Hidden folders below are passed by, and what others have put into node_modules. Raises `SpecificationError` with every fault of all of them.
    """
    findings = Findings()
    named = [file for path in paths for file in _files(path, findings)]
    files = {os.path.realpath(file): file for file in reversed(named)}
    documents = [document for file in reversed(files.values()) for document in _documents(file, findings)]
    return _resolved(documents, findings)


def parse_specification(raw: bytes, file: str) -> Specification:
    """Read one file's bytes as a specification; `file` is named in the messages. Raises `SpecificationError`."""
    try:
        documents = parse_documents(raw, file)
    except StrictYamlError as error:
        raise SpecificationError(error.faults) from None
    return _resolved(documents, Findings())


def load_gate(path: Path) -> Gate:
    """Read the one ReleaseGate of a file or folder; raises `SpecificationError`."""
    return load_gate_with_slos(path)[0]


def load_gate_with_slos(path: Path) -> tuple[Gate, tuple[Slo, ...]]:
    """Read the one ReleaseGate of a file or folder, and the SLOs that it names; raises `SpecificationError`."""
    specification = load_specification([path])
    gates = specification.gates
    if len(gates) == 1:
        names = dict.fromkeys(objective.slo for objective in gates[0].objectives if objective.slo)
        return gates[0], tuple(specification.slo(name) for name in names)
    got = f"{len(gates)}: {', '.join(gate.name for gate in gates)}" if gates else "none"
    raise SpecificationError([fault_at(str(path), BEGIN, f"expected one ReleaseGate, got {got}")])


def _files(path: Path, findings: Findings) -> list[Path]:
    if not path.is_dir():
        return [path]
    closed: list[OSError] = []
    files = sorted(file for file in _below(path, closed) if file.suffix in SUFFIXES and _may_be_read(file))
    findings.extend(fault_at(str(error.filename), BEGIN, f"cannot be read: {error.strerror}") for error in closed)
    if not files and not closed:
        findings.extend([fault_at(str(path), BEGIN, "no *.yaml in this folder")])
    return files


def _below(folder: Path, closed: list[OSError]) -> Iterator[Path]:
    for where, folders, names in os.walk(folder, onerror=closed.append):
        folders[:] = [name for name in folders if not name.startswith(".") and name != PACKAGES]
        yield from (Path(where, name) for name in names)


def _may_be_read(file: Path) -> bool:
    """Tell whether it is a file, or can't be looked at, which whoever opens it says; a pipe would keep them waiting."""
    try:
        return file.is_file()
    except OSError:
        return True


def _documents(file: Path, findings: Findings) -> list[Document]:
    findings.files.append(str(file))
    try:
        return read_documents(file)
    except StrictYamlError as error:
        findings.extend(error.faults)
    except OSError as error:
        findings.extend([fault_at(str(file), BEGIN, f"cannot be read: {error.strerror}")])
    findings.untold = True
    return []


def _resolved(documents: list[Document], findings: Findings) -> Specification:
    entries = [entry for document in documents if (entry := _entry(document, findings)) is not None]
    specification = _specification(entries, findings)
    if findings.faults:
        raise SpecificationError(findings.in_order())
    return specification


def _entry(document: Document, findings: Findings) -> Entry | None:
    """Return a document that is as its kind wants it; notes what is wrong, and the name in any case."""
    place, value = Place(document), document.value
    kind = _kind(place, findings)
    findings.untold = findings.untold or kind is None
    name = value.get("metadata", {}).get("name") if kind and isinstance(value.get("metadata"), dict) else None
    if kind and isinstance(name, str):
        findings.declare(value["kind"], name, place.at("metadata", "name"))
    faults = list(schema.faults_of(document, kind)) if kind else []
    findings.extend(faults)
    if kind is None or faults:
        return None
    entry = Entry(place, schema.convert(document, kind))
    _require_annotations_of_its_kind(entry, findings)
    return entry


def _require_annotations_of_its_kind(entry: Entry, findings: Findings) -> None:
    given = entry.place.document.value["metadata"].get("annotations", {})
    for name, kinds in ANNOTATED.items():
        if name in given and entry.body.kind not in kinds:
            said = f"{name} says nothing here: it belongs to a {' or '.join(kinds)}"
            findings.faults.append(entry.place.document.locate(("metadata", "annotations", name), said, key=True))


def _kind(place: Place, findings: Findings) -> type[AnyDocument] | None:
    value = place.document.value
    if not isinstance(value, dict):
        more = "; separate documents by ---" if isinstance(value, list) else ""
        findings.add(place, f"expected a mapping, got {schema.shown(value)}{more}")
        return None
    for key in ("apiVersion", "kind"):
        if key not in value:
            findings.add(place, f"missing key {key!r}")
            return None
        if not isinstance(value[key], str):
            findings.add(place.at(key), f"expected a string, got {schema.shown(value[key])}")
            return None
    version, kind = value["apiVersion"], value["kind"]
    if version not in KINDS:
        findings.add(place.at("apiVersion"), f"expected {' or '.join(map(repr, KINDS))}, got {schema.shown(version)}")
        return None
    if kind in KINDS[version]:
        return KINDS[version][kind]
    if kind in OUTSIDE_KINDS:
        findings.add(place.at("kind"), f"{kind!r} is {schema.OUTSIDE}: {OUTSIDE_KINDS[kind]}")
    else:
        homes = [f"; it is one of {other}" for other, kinds in KINDS.items() if kind in kinds]
        more = homes[0] if homes else schema.suggestion(kind, list(KINDS[version]))
        findings.add(place.at("kind"), f"{version} has no kind {schema.shown(kind)}{more}")
    return None


def _specification(entries: list[Entry], findings: Findings) -> Specification:
    services = _read(entries, ServiceDocument, partial(read_service, findings=findings))
    sources = _read(entries, DataSourceDocument, read_data_source)
    described = {body.metadata.name: body.metadata for _, body in _of(entries, ServiceDocument)}
    conditions = _read(entries, AlertConditionDocument, partial(read_condition_document, findings=findings))
    read_policy = partial(read_alert_document, conditions=conditions, findings=findings)
    parts = Parts(
        metadata=described,
        data_sources=sources,
        slis=_read(entries, SliDocument, partial(read_indicator, sources=sources, findings=findings)),
        conditions=conditions,
        alerts=_read(entries, AlertPolicyDocument, read_policy),
    )
    slos = _read(entries, SloDocument, partial(read_slo, parts=parts, findings=findings))
    _require_distinct_ids(slos, findings)
    gates = _read(entries, ReleaseGateDocument, partial(read_gate, slos=slos, findings=findings))
    return Specification(
        services=_by_name(services),
        data_sources=_by_name(sources),
        slos=tuple(sorted(slos.values(), key=lambda slo: (slo.service, slo.name))),
        gates=_by_name(gates),
    )


def _require_distinct_ids(slos: dict[str, Slo], findings: Findings) -> None:
    first: dict[str, str] = {}
    for name, slo in slos.items():
        other = first.setdefault(slo.id, name)
        if other != name:
            findings.add(findings.names["SLO"][name], f"its id would be {slo.id!r}, like that of the SLO {other!r}")


def _of(entries: list[Entry], kind: type[D]) -> Iterator[tuple[Entry, D]]:
    for entry in entries:
        if isinstance(entry.body, kind):
            yield entry, entry.body


def _read(entries: list[Entry], kind: type[D], read: Callable[[Entry, D], R | None]) -> dict[str, R]:
    """Return what could be made of the documents of a kind, by name."""
    made = {body.metadata.name: read(entry, body) for entry, body in _of(entries, kind)}
    return {name: part for name, part in made.items() if part is not None}


def _by_name(parts: dict[str, R]) -> tuple[R, ...]:
    return tuple(part for _, part in sorted(parts.items()))
