"""The commands of docs/tour.md, by the way that they belong to: tests/test_tour_page.py reads them, tests/stack/test_tour.py runs them."""

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "tour.md"
WAYS: Final = ("First", "Without Docker", "With Docker")


def way(heading: str) -> str:
    """Return what stands below a heading."""
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def blocks(heading: str, language: str = "sh") -> list[str]:
    """Return the blocks of a language below a heading, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", way(heading), re.MULTILINE | re.DOTALL)
