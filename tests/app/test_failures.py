"""What the shop says that it is at fault for, its objectives count as bad, and nothing else of it."""

import re
from pathlib import Path

from app.errors import FAILURES, ShopError, family
from slo.openslo.loading import load_specification
from telemetry import conventions as c

SPECIFICATIONS = Path(__file__).parents[2] / "slo" / "specs"
HTTP_STATUS = c.HTTP_LABELS[-1]
RPC_STATUS = c.RPC_LABELS[-1]


def bad(label: str) -> set[str]:
    """Return the expressions by which the availability objectives select a label."""
    found = [slo.sli.events.of(label) for slo in load_specification([SPECIFICATIONS]).slos]
    return {matcher.value for matchers in found for matcher in matchers}


def matched(statuses: dict[type[ShopError], str], label: str) -> list[type[ShopError]]:
    (expression,) = bad(label)
    return [error for error, status in statuses.items() if re.fullmatch(expression, status)]


def test_the_failures_are_the_errors_that_the_objectives_count() -> None:
    assert matched({error: str(error.http_status) for error in family()}, HTTP_STATUS) == FAILURES
    assert matched({error: error.grpc_status.name for error in family()}, RPC_STATUS) == FAILURES
