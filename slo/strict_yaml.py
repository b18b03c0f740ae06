"""YAML that means one thing: strict reading with the line and column of every value.

PyYAML alone accepts duplicate keys, reads `on` as true, `1:30` as 90 and `010` as 8, and stops at the first error. Here
its *events* are read, and turned into plain values by the YAML 1.2 core schema
(https://yaml.org/spec/1.2.2/#103-core-schema), with the position of every key and value; duplicates, anchors, aliases
and tags are faults, all of them reported at once. Size and depth are bounded before anything is built (`[` times 200,000
takes libyaml two minutes otherwise). The pure Python parser is used throughout, so that messages do not depend on the
machine.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

# Room for some thousand objectives; the slowest file of this size takes 20 s (`[a,a,…]`), a likely one 7 s.
MOST_BYTES: Final = 2_097_152
DEEPEST: Final = 32
# A file with more faults than these is not what it was taken for.
MOST_FAULTS: Final = 1000
# Python refuses to convert numbers of some thousand digits; one of 40 is nobody's target.
MOST_DIGITS: Final = 40

Path_ = tuple[str | int, ...]

# YAML 1.2 core schema, https://yaml.org/spec/1.2.2/#1032-tag-resolution
_NULL: Final = re.compile(r"|~|null|Null|NULL")
_TRUE: Final = re.compile(r"true|True|TRUE")
_FALSE: Final = re.compile(r"false|False|FALSE")
_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_BASED: Final = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where something stands; both count from 1."""

    line: int
    column: int


BEGIN: Final = Position(1, 1)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong and where; `path` leads to the value within its document (`spec.objectives[0].target`)."""

    file: str
    line: int
    column: int
    message: str
    path: str = ""

    def __str__(self) -> str:
        """Return `file:line:column: message`."""
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


# What "\ud800" in quotes makes: half a character, which nothing can write.
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class StrictYamlError(ValueError):
    """A file is not YAML that means one thing; `faults` has every fault found."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults

    @property
    def messages(self) -> list[str]:
        """Every fault as `file:line:column: message`."""
        return list(map(str, self.faults))


@dataclass(frozen=True, slots=True)
class Document:
    """A document's value as plain dicts, lists and scalars, and where each value and each key stands."""

    file: str
    value: Any
    values: dict[Path_, Position] = field(default_factory=dict)
    keys: dict[Path_, Position] = field(default_factory=dict)

    def locate(self, path: Path_, message: str, *, key: bool = False) -> Fault:
        """Return the fault of the value at `path`, of its key, or of the nearest value around a missing one."""
        known = path
        while known and known not in self.values:
            known = known[:-1]
        position = (self.keys.get(path) if key else None) or self.values.get(known, BEGIN)
        return fault_at(self.file, position, message, path)


def fault_at(file: str, position: Position, message: str, path: Path_ = ()) -> Fault:
    """Return a fault. What a terminal would obey, or could not show, is written as an escape: files are anybody's."""
    spelled = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return Fault(file, position.line, position.column, _escaped(message), _escaped(spelled.removeprefix(".")))


def _escaped(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def read_documents(path: Path) -> list[Document]:
    """Read a file strictly; raises `StrictYamlError` with every fault, `OSError` when it can't be read."""
    with path.open("rb") as file:
        return parse_documents(file.read(MOST_BYTES + 1), str(path))


def parse_documents(raw: bytes, file: str) -> list[Document]:
    """Read bytes strictly, at least one document; documents of comments alone are left out.

    `file` is named in the messages. Raises `StrictYamlError` with every fault.
    """
    text = _decode(raw, file)
    builder = _Builder(file)
    try:
        documents = list(builder.documents(_events(text)))
        if not documents and not builder.faults:
            builder.add(BEGIN, "the file is empty")
    except yaml.MarkedYAMLError as error:
        builder.faults.append(fault_at(file, _position(error.problem_mark), _worded(error)))
    except yaml.reader.ReaderError as error:
        where = _after(text[: error.position])
        builder.faults.append(fault_at(file, where, "a character that YAML does not allow"))
    except _NoFurther as error:
        builder.faults.append(fault_at(file, error.position, error.message))
    if builder.faults:
        raise StrictYamlError(builder.faults)
    return documents


def _events(text: str) -> Iterator[yaml.Event]:
    r"""Yield what PyYAML reads; where it stumbles over its own conversions, nothing further is looked at.

    It takes any eight digits behind "\U" for a character, and any number of them for a version.
    """
    loader: Any = yaml.BaseLoader(text)
    while True:
        try:
            event = loader.get_event()
        except (ValueError, OverflowError):
            raise _NoFurther(_position(loader.get_mark()), "cannot be read as YAML: a number out of range") from None
        if event is None:
            return
        yield event


class _NoFurther(Exception):
    """Nothing behind this place is looked at."""

    def __init__(self, position: Position, message: str) -> None:
        super().__init__(message)
        self.position = position
        self.message = message


def _decode(raw: bytes, file: str) -> str:
    if len(raw) > MOST_BYTES:
        raise StrictYamlError([fault_at(file, BEGIN, f"longer than {MOST_BYTES} bytes")])
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        where = _after(raw[: error.start].decode())
        raise StrictYamlError([fault_at(file, where, f"not UTF-8: byte 0x{raw[error.start]:02x}")]) from None


def _after(text: str) -> Position:
    return Position(text.count("\n") + 1, len(text) - text.rfind("\n"))


def _position(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1) if mark else BEGIN


def _worded(error: yaml.MarkedYAMLError) -> str:
    context = f"{error.context}: " if error.context else ""
    return f"cannot be read as YAML: {context}{error.problem}"


class _Builder:
    """Turns events into plain values and notes where they stand."""

    def __init__(self, file: str) -> None:
        self.faults: list[Fault] = []
        self._file = file
        self._events: Iterator[yaml.Event] = iter(())
        self._document = Document(file, None)

    def documents(self, events: Iterator[yaml.Event]) -> Iterator[Document]:
        """Yield every document that says something; what is wrong with them is in `faults`."""
        self._events = events
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._document = Document(self._file, None)
                first = next(events)
                if (value := self._value(first, ())) is not None or not _is_empty(first):
                    yield Document(self._file, value, self._document.values, self._document.keys)

    def add(self, position: Position, message: str) -> None:
        """Note a fault."""
        if len(self.faults) == MOST_FAULTS:
            raise _NoFurther(position, f"more than {MOST_FAULTS} faults: the rest is not looked at")
        self.faults.append(fault_at(self._file, position, message))

    def _value(self, event: yaml.Event, path: Path_) -> Any:
        where = self._document.values[path] = _position(event.start_mark)
        for fault in _forbidden(event):
            self.add(where, fault)
        if isinstance(event, yaml.CollectionStartEvent) and len(path) >= DEEPEST:
            raise _NoFurther(where, f"nested deeper than {DEEPEST}")
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        if isinstance(event, yaml.ScalarEvent):
            return event.value if event.style else plain_scalar(event.value)
        return None

    def _sequence(self, path: Path_) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event, (*path, len(items))))
        return items

    def _mapping(self, path: Path_) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            where = _position(event.start_mark)
            # Read as a value first, so that a key that is none is read to its end.
            self._value(event, (*path, ""))
            if not isinstance(event, yaml.ScalarEvent):
                self.add(where, "a key must be a string")
                self._value(next(self._events), (*path, ""))
                continue
            key = (*path, event.value)
            if event.value in values:
                self.add(where, f"duplicate key {event.value!r}, first on line {self._document.keys[key].line}")
                self._value(next(self._events), (*path, ""))
                continue
            self._document.keys[key] = where
            values[event.value] = self._value(next(self._events), key)
        return values


def _is_empty(event: yaml.Event) -> bool:
    return isinstance(event, yaml.ScalarEvent) and event.style is None and not event.value


def _forbidden(event: yaml.Event) -> Iterator[str]:
    if isinstance(event, yaml.AliasEvent):
        yield f"aliases are not allowed: *{event.anchor}"
    elif isinstance(event, yaml.NodeEvent) and event.anchor:
        yield f"anchors are not allowed: &{event.anchor}"
    if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag:
        yield f"tags are not allowed: {event.tag}"
    if isinstance(event, yaml.ScalarEvent) and _SURROGATE.search(event.value):
        yield "a surrogate (\\ud800 to \\udfff) is no character"


def plain_scalar(text: str) -> str | int | float | bool | None:
    """Return what an unquoted scalar means in the YAML 1.2 core schema; infinities and NaN stay strings.

    `on`, `1:30` and `1_000` are strings and `010` is ten, unlike in YAML 1.1.
    """
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return text[0] in "tT"
    if _INTEGER.fullmatch(text):
        return int(text) if len(text) < MOST_DIGITS else text
    if _BASED.fullmatch(text):
        return int(text[2:], 8 if text[1] == "o" else 16) if len(text) < MOST_DIGITS else text
    # 1e999 is no number that anybody means.
    return float(text) if _FLOAT.fullmatch(text) and math.isfinite(float(text)) else text
