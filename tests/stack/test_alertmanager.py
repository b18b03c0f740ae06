"""Who is told of an outage, by a real Alertmanager on the shipped configuration: one page, and no ticket beside it."""

import time
from pathlib import Path

import pytest
import yaml

from goshop.processes import wait_until
from tests.stack.alertmanager import Listener, running, told_at

pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "compose"
PAGES = ("GatewayAvailabilityFastBurn", "GatewayAvailabilityOutage")
TICKETS = ("GatewayAvailabilityBurn", "GatewayAvailabilitySlowBurn")
OTHER = "ProductAvailabilityBurn"
# The time between two evaluations of the rules, in s: what comes with the next one comes so much later.
EVALUATION = float(
    yaml.safe_load((COMPOSE / "prometheus.yaml").read_text())["global"]["evaluation_interval"].removesuffix("s")
)


def alert(name: str) -> dict[str, dict[str, str]]:
    """Return an alert of the committed rules as Prometheus sends it."""
    rules = [
        (group["name"], rule)
        for path in sorted((ROOT / "slo" / "generated" / "rules").glob("*.yaml"))
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]
    ((group, rule),) = [(group, rule) for group, rule in rules if rule.get("alert") == name]
    # What the expression's series have.
    of_series = {"sloth_id": group.removeprefix("sloth-slo-alerts-")}
    return {"labels": {"alertname": name, **of_series, **rule["labels"]}, "annotations": rule["annotations"]}


class Outage:
    """A total outage as two Alertmanagers hear of it: tickets at one evaluation, pages at the next.

    `shipped` waits as it is shipped; `hasty` does not wait at all.
    """

    def __init__(self, command: Path, folder: Path) -> None:
        self.shipped, self.hasty = Listener(), Listener()
        with (
            self.shipped.listening(),
            self.hasty.listening(),
            running(command, folder / "shipped", told_at(self.shipped.url)) as patient,
            running(command, folder / "hasty", told_at(self.hasty.url, group_wait="0s")) as hasty,
        ):
            began = time.time()
            for server in (patient, hasty):
                server.fire(*map(alert, (*TICKETS, OTHER)))
            # The time between two evaluations, which nothing but a clock can tell.
            assert wait_until(lambda: time.time() - began >= EVALUATION, 2 * EVALUATION)
            self.paged = time.time()
            for server in (patient, hasty):
                server.fire(*map(alert, PAGES))
            assert wait_until(lambda: any(told.alerts == PAGES for told in self.shipped.told), 4 * EVALUATION)
            self.states = patient.states()


@pytest.fixture(scope="module")
def outage(alertmanager_command, tmp_path_factory):
    return Outage(alertmanager_command, tmp_path_factory.mktemp("alertmanager"))


def test_an_outage_is_one_page_to_who_is_on_call(outage):
    assert [told.alerts for told in outage.shipped.told if told.receiver == "on-call"] == [PAGES]


def test_no_ticket_goes_out_beside_its_page_though_it_was_known_first(outage):
    told = {name for each in outage.shipped.told for name in each.alerts}
    assert told.isdisjoint(TICKETS)
    assert {outage.states[name] for name in TICKETS} == {"suppressed"}


def test_a_ticket_of_another_objective_goes_out(outage):
    (told,) = [each for each in outage.shipped.told if each.receiver == "team"]
    assert told.alerts == (OTHER,)


def test_it_waits_for_two_evaluations_and_not_much_longer(outage):
    (page,) = [told for told in outage.shipped.told if told.receiver == "on-call"]
    assert 2 * EVALUATION - 1 <= page.at - outage.paged <= 2 * EVALUATION + 5


def test_without_that_wait_the_ticket_would_be_told_first(outage):
    first = min(outage.hasty.told, key=lambda told: told.at)
    assert first.receiver == "team"
    assert set(TICKETS) <= {name for told in outage.hasty.told if told.at < outage.paged for name in told.alerts}
