"""Whatever a valid specification says: its rules can be read, name nothing twice, and are the same bytes again.

That another process makes the same bytes, `scripts/generate.py --check` shows each time: strings hash differently in each.
"""

import re
from itertools import chain

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from slo.generation.artefacts import artefacts, prometheus_rules
from tests.slo.generation.specifications import documents, loaded

METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
# Strings go first: what stands in them is not ours.
STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
# An exponent, or the tail of a binary fraction.
EXPONENT = re.compile(r"\d[eE][-+]?\d|\d\.\d*0{6}|9{12}")


@settings(max_examples=40, deadline=None)
@given(documents)
def test_rules_can_be_read_and_none_is_there_twice(documents):
    groups = yaml.safe_load(prometheus_rules(loaded(documents)))["groups"]
    rules = list(chain.from_iterable(group["rules"] for group in groups))
    seen = [
        (rule.get("record") or rule["alert"], *sorted(rule["labels"].items())) for rule in rules if "record" in rule
    ]
    assert len(set(seen)) == len(seen)
    assert len({group["name"] for group in groups}) == len(groups)
    for rule in rules:
        assert METRIC.fullmatch(rule.get("record", "alert"))
        assert all(LABEL.fullmatch(label) and isinstance(value, str) for label, value in rule["labels"].items())
        ours = STRING.sub('""', rule["expr"])
        assert ours.count("(") == ours.count(")")
        assert "$" not in ours
        assert not EXPONENT.search(ours)


@settings(max_examples=40, deadline=None)
@given(documents, st.randoms())
def test_the_order_of_documents_changes_no_byte(documents, chance):
    first = artefacts(loaded(documents))
    chance.shuffle(documents)
    assert artefacts(loaded(documents)) == first
