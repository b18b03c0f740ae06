"""A Prometheus on loopback that answers what the real one once did, and whatever else a test wants it to.

The answers are those of `tests/stack/recording.py`, which made them with the pinned Prometheus and compares them in
`make test-stack`.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from tests.goshop.answering import Asked, Reply, answering

FOLDER = Path(__file__).parent / "recorded"
# From a query, and the headers of who asks, to a status and a body.
Answers = Callable[[str, dict[str, str]], tuple[int, bytes]]


def recorded(name: str) -> dict[str, Any]:
    """Return a recording: `now`, and the `data` of the answer to each query."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found


def replay(name: str, **changed: Any) -> Answers:
    """Return the answers of a recording; `changed` replaces the data of queries that begin with a name."""
    recording = recorded(name)

    def answer(query: str, _: dict[str, str]) -> tuple[int, bytes]:
        data = {"resultType": "scalar", "result": [recording["now"], str(recording["now"])]}
        if query != "time()" or query in changed:
            data = next(
                (each for name, each in changed.items() if query.startswith(name)), recording["answers"].get(query)
            )
        if data is None:
            return 422, json.dumps({"status": "error", "error": f"nobody recorded {query}"}).encode()
        return 200, json.dumps({"status": "success", "data": data}).encode()

    return answer


@contextmanager
def prometheus(answers: Answers) -> Iterator[str]:
    """Serve answers at the address that is returned."""

    def reply(asked: Asked) -> Reply:
        (query,) = parse_qs(asked.body.decode())["query"]
        status, body = answers(query, asked.headers)
        return status, "application/json", body

    with answering(reply) as url:
        yield url
