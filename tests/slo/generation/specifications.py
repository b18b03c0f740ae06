"""Valid specifications by chance: every kind of indicator, window and alert, and texts that nobody would think of."""

import re

import yaml
from hypothesis import strategies as st

from slo.openslo.loading import parse_specification
from slo.openslo.re2 import regex_fault

names = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?\Z")
words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20)
# Of these any order may be a regular expression, for the loader and for Prometheus alike.
SPELLED = r"""
a 5.. é ^ $ | * +? {2} {2,} {0,1000} - (?i) (?sU: (?P<n> ( ) [ [^ ]
\d \pL \P{Greek} [[:^alpha:]] \b \A \z \Q \E \x{10ffff} \07
(?=a) (?<!a) (?P=n) \1 a++ {1001} \Z \u0041 (?#a) \C
"""
PIECES = [*SPELLED.split(), "\ufffd"]
regexes = st.lists(st.sampled_from(PIECES), max_size=6).map("".join).filter(lambda text: not regex_fault(text))
compared = st.tuples(st.sampled_from(["path", "code", "job"]), st.sampled_from(["=", "!="]), words)
matched = st.tuples(st.sampled_from(["path", "code", "job"]), st.sampled_from(["=~", "!~"]), regexes)
matchers = st.lists(compared | matched, max_size=3)
windows = st.sampled_from(["1h", "90m", "6h", "1d"])
shares = st.integers(50_000, 99_999).map(lambda number: number / 100_000)


def selector(name: str, matchers: list) -> str:
    said = (
        f"{label}{operator}`{value}`" if "~" in operator else f'{label}{operator}"{value}"'
        for label, operator, value in (
            (label, operator, value if "~" in operator else re.sub(r'["\\\n]', "", value))
            for label, operator, value in matchers
        )
    )
    return f"{name}{{{','.join(said)}}}"


def metric(query: str) -> dict:
    return {"metricSource": {"metricSourceRef": "theirs", "spec": {"query": query}}}


@st.composite
def indicators(draw):
    common = draw(matchers)
    total = metric(selector("requests_count", common))
    if draw(st.booleans()):
        edge = [("le", "=", draw(st.sampled_from(["0.1", "0.8", "5.0"])))]
        return {"counter": True, "good": metric(selector("requests_bucket", common + edge)), "total": total}
    more = [("status", "=", draw(words))]
    return {
        "counter": True,
        draw(st.sampled_from(["good", "bad"])): metric(selector("requests_count", common + more)),
        "total": total,
    }


@st.composite
def policies(draw):
    condition = {
        "threshold": draw(st.integers(1, 19)) / 10,
        "lookbackWindow": draw(windows),
        "alertAfter": draw(st.sampled_from(["0m", "2m"])),
    }
    severity = draw(st.sampled_from(["page", "ticket"]))
    inner = {
        "kind": "AlertCondition",
        "metadata": {"name": "c"},
        "spec": {"severity": severity, "condition": condition},
    }
    spec = {
        "conditions": [inner],
        "description": draw(words),
        "alertWhenNoData": draw(st.booleans()),
        "notificationTargets": [{"targetRef": word} for word in draw(st.lists(words, max_size=2))],
    }
    return {"kind": "AlertPolicy", "metadata": {"name": draw(names), "displayName": draw(words)}, "spec": spec}


@st.composite
def objectives(draw):
    labels = draw(st.dictionaries(st.sampled_from(["team", "tier", "note"]), words, max_size=2))
    metadata = {"name": draw(names), "displayName": draw(words), "labels": labels}
    spec = {
        "service": "shop",
        "description": draw(words),
        "indicator": {"metadata": {"name": "i"}, "spec": {"ratioMetric": draw(indicators())}},
        "timeWindow": [{"duration": draw(st.sampled_from(["2d", "50h", "7d", "4w", "30d"]))}],
        "budgetingMethod": "Occurrences",
        "objectives": [{"target": draw(shares)}],
        "alertPolicies": draw(st.lists(policies(), max_size=3, unique_by=lambda policy: policy["metadata"]["name"])),
    }
    return {"apiVersion": "openslo/v1", "kind": "SLO", "metadata": metadata, "spec": spec}


SOURCE = {
    "apiVersion": "openslo/v1",
    "kind": "DataSource",
    "metadata": {"name": "theirs", "annotations": {"goshop.dev/series": "foreign"}},
    "spec": {"type": "Prometheus"},
}
documents = st.lists(
    objectives(), min_size=1, max_size=3, unique_by=lambda slo: slo["metadata"]["name"].removeprefix("shop-")
)


class Quoting(yaml.SafeDumper):
    """Quotes every string: PyYAML knows YAML 1.1 only, where 0e0 is a word."""


Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def loaded(documents: list):
    return parse_specification(yaml.dump_all([SOURCE, *documents], Dumper=Quoting).encode(), "any.yaml")
