"""YAML that means one thing: strict reading with the line and column of every value.

PyYAML alone accepts duplicate keys, reads `on` as true, `1:30` as 90 and `010` as 8, and stops at the first error. Two
passes mend that. The *events* are read first: size, depth, no anchors, aliases, tags or further documents, before any
tree is built (`[` times 200,000 takes libyaml two minutes otherwise). Then the *node tree* is turned into plain values
by the YAML 1.2 core schema (https://yaml.org/spec/1.2.2/#103-core-schema), with the position of every key and value
and all duplicates found. The pure Python loader is used throughout, so that messages do not depend on the machine.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

MOST_BYTES: Final = 262_144
DEEPEST: Final = 32

Path_ = tuple[str | int, ...]

# YAML 1.2 core schema, https://yaml.org/spec/1.2.2/#1032-tag-resolution
_NULL: Final = re.compile(r"|~|null|Null|NULL")
_TRUE: Final = re.compile(r"true|True|TRUE")
_FALSE: Final = re.compile(r"false|False|FALSE")
_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_BASED: Final = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


class StrictYamlError(ValueError):
    """A file is not YAML that means one thing; `messages` has every fault found, each `file:line:column: what`."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__("\n".join(messages))
        self.messages = messages


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where something stands; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Document:
    """A file's value as plain dicts, lists and scalars, and where each value and each key stands."""

    file: str
    value: Any
    values: dict[Path_, Position] = field(default_factory=dict)
    keys: dict[Path_, Position] = field(default_factory=dict)

    def locate(self, path: Path_, message: str, *, key: bool = False) -> str:
        """Return `file:line:column: message` for the value at `path`, or for its key."""
        position = self.keys.get(path) if key else self.values.get(path)
        return located(self.file, position or Position(1, 1), message)


def located(file: str, position: Position, message: str) -> str:
    """Return `file:line:column: message`."""
    return f"{file}:{position.line}:{position.column}: {message}"


def read_document(path: Path) -> Document:
    """Read a file strictly; raises `StrictYamlError` with every fault, `OSError` when it can't be read."""
    with path.open("rb") as file:
        return parse_document(file.read(MOST_BYTES + 1), str(path))


def parse_document(raw: bytes, file: str) -> Document:
    """Read bytes strictly; `file` is named in the messages. Raises `StrictYamlError` with every fault."""
    text = _decode(raw, file)
    try:
        if faults := list(_forbidden(text, file)):
            raise StrictYamlError(faults)
        node = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        raise StrictYamlError([located(file, _position(error.problem_mark), _worded(error))]) from None
    except yaml.reader.ReaderError as error:
        where = _after(text[: error.position])
        raise StrictYamlError([located(file, where, "a character that YAML does not allow")]) from None
    if node is None:
        raise StrictYamlError([located(file, Position(1, 1), "the file is empty")])
    return _Builder(file).build(node)


def _decode(raw: bytes, file: str) -> str:
    if len(raw) > MOST_BYTES:
        raise StrictYamlError([located(file, Position(1, 1), f"longer than {MOST_BYTES} bytes")])
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        where = _after(raw[: error.start].decode())
        raise StrictYamlError([located(file, where, f"not UTF-8: byte 0x{raw[error.start]:02x}")]) from None


def _after(text: str) -> Position:
    return Position(text.count("\n") + 1, len(text) - text.rfind("\n"))


def _position(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)


def _worded(error: yaml.MarkedYAMLError) -> str:
    context = f"{error.context}: " if error.context else ""
    return f"cannot be read as YAML: {context}{error.problem}"


def _forbidden(text: str, file: str) -> Iterator[str]:
    """Yield what strict YAML does not allow; stops at what is too deep to go on."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=yaml.BaseLoader):
        where = _position(event.start_mark)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
        yield from (located(file, where, fault) for fault in _faults_of(event))
        if depth > DEEPEST or documents > 1:
            yield located(file, where, "one document only" if documents > 1 else f"nested deeper than {DEEPEST}")
            return


def _faults_of(event: yaml.Event) -> Iterator[str]:
    if isinstance(event, yaml.AliasEvent):
        yield f"aliases are not allowed: *{event.anchor}"
    elif isinstance(event, yaml.NodeEvent) and event.anchor:
        yield f"anchors are not allowed: &{event.anchor}"
    if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag:
        yield f"tags are not allowed: {event.tag}"


class _Builder:
    """Turns the node tree into plain values and notes where they stand."""

    def __init__(self, file: str) -> None:
        self._document = Document(file, None)
        self._faults: list[str] = []

    def build(self, node: yaml.Node) -> Document:
        """Return the document; raises `StrictYamlError` with every fault."""
        value = self._value(node, ())
        if self._faults:
            raise StrictYamlError(self._faults)
        return Document(self._document.file, value, self._document.values, self._document.keys)

    def _value(self, node: yaml.Node, path: Path_) -> Any:
        self._document.values[path] = _position(node.start_mark)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        return plain_scalar(node.value) if getattr(node, "style", None) is None else node.value

    def _mapping(self, node: yaml.MappingNode, path: Path_) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            where = _position(key_node.start_mark)
            if not isinstance(key_node, yaml.ScalarNode):
                self._faults.append(located(self._document.file, where, "a key must be a string"))
                continue
            key = (*path, key_node.value)
            if key_node.value in values:
                first = self._document.keys[key].line
                message = f"duplicate key {key_node.value!r}, first on line {first}"
                self._faults.append(located(self._document.file, where, message))
                continue
            self._document.keys[key] = where
            values[key_node.value] = self._value(value_node, key)
        return values


def plain_scalar(text: str) -> str | int | float | bool | None:
    """Return what an unquoted scalar means in the YAML 1.2 core schema; infinities and NaN stay strings.

    `on`, `1:30` and `1_000` are strings and `010` is ten, unlike in YAML 1.1.
    """
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return text[0] in "tT"
    if _INTEGER.fullmatch(text):
        # Beyond this many digits Python refuses the conversion; such a number is nobody's target.
        return int(text) if len(text) < 40 else text  # noqa: PLR2004 - said in the line above
    if _BASED.fullmatch(text):
        return int(text[2:], 8 if text[1] == "o" else 16)
    return float(text) if _FLOAT.fullmatch(text) else text
