"""Whatever is done to a specification, the loader answers: with a specification, or with faults that have a place.

`python -m benchmarks.specification --fuzz SECONDS` does the same for longer.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.specification import each_nasty, intact, mutated, require_answer
from slo.openslo.promql import QueryError, Selector, parse_query

SEEDS = intact()


@pytest.mark.parametrize("raw", SEEDS, ids=["shipped", "good", "conditions"])
def test_what_is_mutated_was_sound(raw):
    assert require_answer(raw)


@pytest.mark.parametrize(
    ("seed", "about"),
    [(1, b"script:"), (1, b"alertAfter: 2m"), (1, b"targetPercent:"), (2, b"conditionRef: quick")],
)
def test_every_nasty_value_is_taken_or_explained(seed, about):
    for raw in each_nasty(SEEDS[seed], about):
        require_answer(raw)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SEEDS), st.randoms(use_true_random=False))
def test_a_mutated_specification_is_taken_or_explained(raw, chance):
    require_answer(mutated(raw, chance))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_anything_is_taken_or_explained(raw):
    assert not require_answer(raw) or b"apiVersion" in raw or not raw.strip()


def read(text):
    try:
        return parse_query(text)
    except QueryError as error:
        return str(error)


@given(st.text(st.sampled_from("sumrate{}()[]=~!\"\\'`,5m_ x."), max_size=30))
def test_any_query_is_read_or_explained(text):
    found = read(text)
    assert parse_query(str(found)) == found if isinstance(found, Selector) else found
