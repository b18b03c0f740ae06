"""`goshop trace ID` on real stores: an order that a customer placed, found by what its answer said."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from click.testing import CliRunner, Result

from goshop.cli import main
from tests.stack import traces
from tests.stack.not_run import say_not_run
from tests.stack.observed import Customer, Observed, exporting, trace_id
from tests.stack.prometheus import eventually

# Asked for where the store is chosen.
pytestmark = pytest.mark.asks_for("jaeger", "loki", "promtail")
ARRIVES_SECONDS = 20.0
EVERYWHERE = {"gateway", "order", "product", "payment"}


@dataclass(frozen=True)
class Asked:
    """An order's trace id, and the options that name the stores that know it."""

    trace_id: str
    options: tuple[str, ...]
    logs: bool

    def trace(self, wanted: str, *more: str) -> Result:
        return CliRunner().invoke(main, ["trace", wanted, *self.options, *more])

    def whole(self) -> dict[str, Any]:
        """Return the trace once everything has arrived."""

        def ask() -> dict[str, Any] | None:
            done = self.trace(self.trace_id, "--json")
            found = json.loads(done.stdout) if done.exit_code == 0 else {"spans": [], "logs": []}
            services = {span["service"] for span in found["spans"]}
            return found if services >= EVERYWHERE and not found["missing"] and not found["remarks"] else None

        return dict(eventually(ask, ARRIVES_SECONDS, "the order is in the stores"))


@pytest.fixture(scope="module", params=["jaeger", "tempo"])
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    if request.param == "jaeger":
        found: Observed = request.getfixturevalue("observed")
        with Customer(found.shop) as customer:
            options = ("--jaeger", found.jaeger.url, "--loki", found.loki.url)
            yield Asked(trace_id(customer.order()), options, logs=True)
    elif url := os.environ.get("TEMPO_URL", "").rstrip("/"):
        endpoint = f"{traces.tempo_otlp_url(url)}/v1/traces"
        with exporting(tmp_path_factory.mktemp("traced"), endpoint) as shop, Customer(shop) as customer:
            yield Asked(trace_id(customer.order()), ("--tempo", url), logs=False)
    else:
        say_not_run(request.config, "goshop trace on Tempo", "it cannot be built as a Go module; $TEMPO_URL names none")


def test_an_order_is_drawn_across_services_with_the_lines_of_that_request_and_no_other(asked: Asked) -> None:
    found = asked.whole()
    assert {span["trace_id"] for span in found["spans"]} == {asked.trace_id}
    [root] = [span for span in found["spans"] if not span["parent_id"]]
    assert (root["service"], root["name"]) == ("gateway", "POST /api/orders")
    assert {line["trace_id"] for line in found["logs"]} == ({asked.trace_id} if asked.logs else set())
    drawn = asked.trace(asked.trace_id)
    assert drawn.exit_code == 0
    assert "order.v1.OrderService" not in drawn.stdout
    for said in ("POST /api/orders", "OrderService/", "INSERT", *EVERYWHERE):
        assert said in drawn.stdout
    assert ("POST /api/orders 200 in" in drawn.stdout) == asked.logs
    assert "!" not in drawn.stdout


def test_a_trace_that_there_is_not_is_exit_2(asked: Asked) -> None:
    done = asked.trace("e" * 32)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"no trace {'e' * 32}: " in done.stderr


def test_the_beginning_of_an_id_is_found_where_lines_are(asked: Asked) -> None:
    asked.whole()
    done = asked.trace(asked.trace_id[:12], "--json")
    if asked.logs:
        assert json.loads(done.stdout)["trace_id"] == asked.trace_id
    else:
        assert done.exit_code == 2
        assert "name a Loki with --loki" in done.stderr
