"""Rules as YAML, written by ourselves: an emitter of a library breaks lines as its version likes, ours never does."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Final

from slo.generation.model import Alert, Group, Labels, Record

# What JSON leaves as it is in a string and YAML 1.2 does not (https://yaml.org/spec/1.2.2/#51-character-set), and line
# ends of Unicode, which editors take for some.
_UNPRINTABLE: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_:-]*")
# What readers of YAML 1.1 take for something else than text; Prometheus reads with one.
_TAKEN: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_BLOCK: Final = re.compile(r"[ -~]+(\n[ -~]+)*")


def rules_yaml(groups: Iterable[Group], head: str) -> bytes:
    """Return a file of rules; `head` are lines of comment."""
    lines = [*(f"# {line}" for line in head.splitlines()), "groups:"]
    listed = [line for group in groups for line in _group(group)]
    return ("\n".join([*lines, *listed] if listed else [*lines[:-1], "groups: []"]) + "\n").encode()


def _group(group: Group) -> Iterator[str]:
    yield f"  - name: {scalar(group.name)}"
    if group.interval:
        yield f"    interval: {group.interval}"
    yield "    rules:"
    for rule in group.rules:
        yield from _record(rule) if isinstance(rule, Record) else _alert(rule)


def _record(rule: Record) -> Iterator[str]:
    yield f"      - record: {rule.name}"
    yield from _expression(rule.expr)
    yield from _mapping("labels", rule.labels)


def _alert(rule: Alert) -> Iterator[str]:
    yield f"      - alert: {scalar(rule.name)}"
    yield from _expression(rule.expr)
    if rule.hold:
        yield f"        for: {rule.hold}"
    yield from _mapping("labels", rule.labels)
    yield from _mapping("annotations", rule.annotations)


def _expression(text: str) -> Iterator[str]:
    """Yield an expression so that people can read it, where it has nothing but printable characters."""
    if _BLOCK.fullmatch(text) and not text.startswith(" "):
        yield "        expr: |-"
        yield from (f"          {line}" for line in text.split("\n"))
    else:
        yield f"        expr: {quoted(text)}"


def _mapping(name: str, pairs: Labels) -> Iterator[str]:
    if pairs:
        yield f"        {name}:"
        yield from (f"          {scalar(key)}: {scalar(value)}" for key, value in pairs)


def scalar(text: str) -> str:
    """Return a string, plain where nobody can take it for anything else."""
    return text if _PLAIN.fullmatch(text) and text.lower() not in _TAKEN and text[-1] != ":" else quoted(text)


def quoted(text: str) -> str:
    """Return a string in double quotes, on one line."""
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(text, ensure_ascii=False))
