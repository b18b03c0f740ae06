"""Documents on their way to the model: each with the file it stands in, and one list of everything that is wrong."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from slo.openslo.documents import AnyDocument
from slo.schema import suggestion
from slo.strict_yaml import Document, Fault, Path_

# To compare a name with a thousand others takes a tenth of a second; whoever is told of twenty knows what is the matter.
MOST_SUGGESTIONS: Final = 20


@dataclass(frozen=True, slots=True)
class Place:
    """A value's place: its document and the way to it."""

    document: Document
    path: Path_ = ()

    def at(self, *more: str | int) -> "Place":
        """Return the place of something inside."""
        return Place(self.document, (*self.path, *more))

    def fault(self, message: str) -> Fault:
        """Return what is wrong there."""
        return self.document.locate(self.path, message)


@dataclass(frozen=True, slots=True)
class Entry:
    """A document that is as its kind wants it."""

    place: Place
    body: AnyDocument


@dataclass(slots=True)
class Findings:
    """What is wrong, all of it, and which names documents have, also those that can't be used.

    A reference to a document that has a fault of its own is none more; nor is one to nowhere, as long as there are
    documents that could not be told (`untold`): it may lead to one of them. `files` are in the order they were read,
    `suggested` counts the references that were compared with all the names there are.
    """

    faults: list[Fault] = field(default_factory=list)
    names: dict[str, dict[str, Place]] = field(default_factory=dict)
    untold: bool = False
    files: list[str] = field(default_factory=list)
    suggested: int = 0

    def add(self, place: Place, message: str) -> None:
        """Note a fault."""
        self.faults.append(place.fault(message))

    def extend(self, faults: Iterable[Fault]) -> None:
        """Note several faults."""
        self.faults.extend(faults)

    def refer_if_any(self, place: Place, kind: str, name: str) -> None:
        """Require a document of that name, unless there is none of that kind at all: many people write none."""
        if self.names.get(kind):
            self.refer(place, kind, name)

    def in_order(self) -> list[Fault]:
        """Return the faults in order of files, lines and columns."""
        ranks = {file: rank for rank, file in enumerate(self.files)}
        return sorted(
            self.faults, key=lambda fault: (ranks.get(fault.file, -1), fault.line, fault.column, fault.message)
        )

    def declare(self, kind: str, name: str, place: Place) -> None:
        """Note a document's name; two of one kind can't share one."""
        known = self.names.setdefault(kind, {})
        if name in known:
            first = known[name].fault("")
            self.add(place, f"the name {name!r} is taken by the {kind} at {first.file}:{first.line}")
        else:
            known[name] = place

    def refer(self, place: Place, kind: str, name: str) -> bool:
        """Tell whether there is a document of that name; notes a fault when there is none."""
        known: Mapping[str, Place] = self.names.get(kind, {})
        if name not in known and not self.untold:
            self.add(place, f"there is no {kind} {name!r}{self._suggestion(name, known)}")
        return name in known

    def _suggestion(self, name: str, known: Iterable[str]) -> str:
        self.suggested += 1
        return suggestion(name, sorted(known)) if self.suggested <= MOST_SUGGESTIONS else ""
