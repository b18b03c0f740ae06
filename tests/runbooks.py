"""The commands of docs/runbooks, and what they ask whom: tests/test_runbooks.py checks them, tests/stack asks real servers."""

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / "docs" / "runbooks"
# Of no objective: how to read the others, and what to do when the stack fails itself.
README: Final = FOLDER / "README.md"
STACK: Final = FOLDER / "stack.md"
PAGES: Final = sorted(path for path in FOLDER.glob("*.md") if path not in {README, STACK})
_ENCODED: Final = "--data-urlencode"


def commands(*pages: Path) -> list[str]:
    """Return every line of a block of shell in pages, by default in all."""
    return [
        line
        for page in pages or (*PAGES, README, STACK)
        for block in re.findall(r"^```sh\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]


def practised(page: Path) -> list[tuple[str, str]]:
    """Return the faults that a page has one practise, each with the service that is started with it."""
    return re.findall(
        r"^GOSHOP_STACK_FAULTS='(.+)' docker compose up --detach --no-deps (\w+)$", page.read_text(), re.MULTILINE
    )


def promql(*pages: Path) -> Iterator[str]:
    """Yield what Prometheus is asked, in order; by default on the pages of objectives."""
    for line in commands(*(pages or PAGES)):
        if " promtool query instant " in line:
            yield shlex.split(line)[-1]


def logql(*pages: Path) -> Iterator[str]:
    """Yield what Loki is asked."""
    asked = _parameters("/loki/api/v1/query_range", *pages)
    yield from (query.removeprefix("query=") for query in asked if query[0] == "q")


def traceql() -> Iterator[str]:
    """Yield what Tempo is asked."""
    yield from (query.removeprefix("q=") for query in _parameters("/api/search") if query[0] == "q")


def _parameters(path: str, *pages: Path) -> Iterator[str]:
    for line in commands(*pages):
        words = shlex.split(line)
        if words[0] == "curl" and any(word.endswith(path) for word in words):
            yield from (value for word, value in pairwise(words) if word == _ENCODED)


def statements() -> Iterator[tuple[str, str]]:
    """Yield the name of a database and what it is asked."""
    for line in commands():
        if found := re.search(r'psql --username=postgres --dbname=(\w+) --command="(.+)"$', line):
            yield found[1], found[2]
