"""No number of a specification is read and dropped: whichever is changed, the model changes, or says what is wrong."""

import re
from pathlib import Path

import pytest

from slo.openslo.loading import SpecificationError, parse_specification

GOOD, CONDITIONS = ((Path(__file__).parent / name).read_text() for name in ("good.yaml", "conditions.yaml"))
# Neither versions, nor ports, nor the range of a query, which readers choose for themselves.
NUMBERS = [
    found
    for text in (GOOD, CONDITIONS)
    for found in re.finditer(r"(?<![\w.:/\[])\d+(\.\d+)?", text)
    if "apiVersion" not in text[: found.start()].rpartition("\n")[2] and ".." not in text[found.end() : found.end() + 2]
]


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    folder = tmp_path_factory.mktemp("specification")
    (folder / "load.js").touch()

    def read(text):
        try:
            return parse_specification(text.encode(), str(folder / "spec.yaml"))
        except SpecificationError as error:
            return error.messages

    return read


@pytest.fixture(scope="module")
def model(read):
    return {text: read(text) for text in (GOOD, CONDITIONS)}


def larger(number):
    return f"{number}5" if "." in number else str(int(number) + 1)


def place(found):
    """Say where a number stands."""
    return f"{found.string[: found.start()].count(chr(10)) + 1}:{found[0]}"


@pytest.mark.parametrize("found", NUMBERS, ids=place)
def test_a_number_that_changes_changes_the_model(found, read, model):
    text = found.string
    assert read(text[: found.start()] + larger(found[0]) + text[found.end() :]) != model[text]


def test_every_kind_of_number_is_among_them():
    assert {"14.4", "1", "2", "0.8", "30", "4", "99", "0.9995", "3", "300", "0.995", "0.99", "100"} <= {
        found[0] for found in NUMBERS
    }
