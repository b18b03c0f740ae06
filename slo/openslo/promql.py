"""The one form of PromQL that a specification may hold: which series are counted. How they are counted is ours to say.

Read are a selector, and a selector inside `sum`, `rate` or `increase`; what is left of each is the selector, because
every reader needs it over windows of its own. A ratio, a quantile or a join inside a query would hide what is counted.
Source: https://prometheus.io/docs/prometheus/latest/querying/basics/
"""

import json
import re
from dataclasses import dataclass
from typing import Final, Literal, cast

from slo.openslo.re2 import regex_fault

MatchOperator = Literal["=", "!=", "=~", "!~"]

_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OPERATOR: Final = re.compile(r"=~|!~|!=|=")
_STRING: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"|' + r"'(?:[^'\\\n]|\\.)*'|`[^`]*`")
_RANGE: Final = re.compile(r"\[\s*(?:\$window|\$\{window\}|\{\{\s*\.window\s*\}\}|(?:\d+[smhdwy])+)\s*\]")
_SPACE: Final = re.compile(r"\s*")
_ESCAPES: Final = {"n": "\n", "t": "\t", "\\": "\\", '"': '"', "'": "'"}
_NESTS: Final = {("sum",), ("rate",), ("increase",), ("sum", "rate"), ("sum", "increase")}
# Prometheus' own label for what stands in front of the braces; it takes the name once.
_METRIC: Final = "__name__"
# What OpenSLO allows for any text, which a document's query is (slo/openslo/fields.py).
LONGEST: Final = 1050

EXPECTED: Final = 'expected a selector such as name{label="value"}, alone or in sum(), sum(rate()) or sum(increase())'


class QueryError(ValueError):
    """A query is not of the form that is read; the message says where and what was expected."""


@dataclass(frozen=True, slots=True, order=True)
class Matcher:
    """What a label must be."""

    label: str
    operator: MatchOperator
    value: str

    def __str__(self) -> str:
        """Return it in PromQL."""
        # JSON's escapes are a subset of Go's, which PromQL reads. U+FFFD it takes for a fault of the encoding.
        value = json.dumps(self.value, ensure_ascii=False).replace("\ufffd", r"\ufffd")
        return f"{self.label}{self.operator}{value}"


@dataclass(frozen=True, slots=True, order=True)
class Selector:
    """Series of one name; the matchers are in order of their labels, whatever order the query had."""

    metric: str
    matchers: tuple[Matcher, ...] = ()

    def __str__(self) -> str:
        """Return it in PromQL."""
        return self.metric + (f"{{{','.join(map(str, self.matchers))}}}" if self.matchers else "")

    def of(self, label: str) -> tuple[Matcher, ...]:
        """Return the matchers of a label."""
        return tuple(matcher for matcher in self.matchers if matcher.label == label)

    def without(self, label: str) -> "Selector":
        """Return the selector without the matchers of a label."""
        return Selector(self.metric, tuple(matcher for matcher in self.matchers if matcher.label != label))


def parse_query(text: str) -> Selector:
    """Return the series that a query counts; raises `QueryError`."""
    if len(text) > LONGEST:
        raise QueryError(f"a query has at most {LONGEST} characters, got {len(text)}")
    reader = _Reader(text)
    selector = reader.query(())
    reader.end()
    return selector


class _Reader:
    """Reads a query from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._space()

    def query(self, around: tuple[str, ...]) -> Selector:
        """Read a call or a selector; `around` are the functions that it stands in, the outermost first."""
        name = self._take(_NAME)
        if self._peek("("):
            return self._call(name, around)
        selector = Selector(name, self._matchers())
        if around and around[-1] in {"rate", "increase"}:
            self._take(_RANGE, f"expected a range such as [5m] or [$window] inside {around[-1]}()")
        return selector

    def _call(self, name: str, around: tuple[str, ...]) -> Selector:
        if (*around, name) not in _NESTS:
            raise QueryError(f"{EXPECTED}, got {name}() before character {self._at + 1}")
        self._expect("(")
        selector = self.query((*around, name))
        self._expect(")")
        return selector

    def end(self) -> None:
        """Require that nothing follows."""
        if self._at < len(self._text):
            raise QueryError(f"{EXPECTED}, got {self._rest()} at character {self._at + 1}")

    def _matchers(self) -> tuple[Matcher, ...]:
        found: list[Matcher] = []
        if not self._peek("{"):
            return ()
        self._expect("{")
        while not self._peek("}"):
            found.append(self._matcher())
            if not self._peek("}"):
                self._expect(",")
        self._expect("}")
        return tuple(sorted(found))

    def _matcher(self) -> Matcher:
        label = self._take(_LABEL, "expected the name of a label")
        if label == _METRIC:
            raise QueryError(f"the name of the series stands before the braces: take {_METRIC} out")
        operator = cast("MatchOperator", self._take(_OPERATOR, "expected =, !=, =~ or !~"))
        value = _unquoted(self._take(_STRING, "expected a string in quotes"))
        if operator.endswith("~"):
            _require_regex(value)
        return Matcher(label, operator, value)

    def _peek(self, character: str) -> bool:
        return self._text.startswith(character, self._at)

    def _expect(self, character: str) -> None:
        if not self._peek(character):
            raise QueryError(f"expected {character!r}, got {self._rest()} at character {self._at + 1}")
        self._at += 1
        self._space()

    def _take(self, pattern: re.Pattern[str], expected: str = EXPECTED) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise QueryError(f"{expected}, got {self._rest()} at character {self._at + 1}")
        self._at = match.end()
        self._space()
        return match[0]

    def _space(self) -> None:
        match = _SPACE.match(self._text, self._at)
        self._at = match.end() if match else self._at

    def _rest(self) -> str:
        shown = self._text[self._at : self._at + 20]
        return repr(shown) if shown else "the end"


def _unquoted(text: str) -> str:
    if text[0] == "`":
        return text[1:-1]
    unknown = [escape for escape in re.findall(r"\\(.)", text[1:-1]) if escape not in _ESCAPES]
    if unknown:
        raise QueryError(f"unknown escape \\{unknown[0]} in {text}")
    return re.sub(r"\\(.)", lambda match: _ESCAPES[match[1]], text[1:-1])


def _require_regex(pattern: str) -> None:
    if fault := regex_fault(pattern):
        raise QueryError(f"{pattern!r} is no regular expression of Prometheus (RE2): {fault}")
