"""From the alert to the failing statement without typing an id, each joint on the real back-ends as they are shipped.

alert -> whoever is on call -> dashboard -> exemplar -> trace -> the lines of that request -> runbook, for a slow statement, an error
burst, a dead service and a full connection pool.
"""

import json
import re
import shlex
import subprocess
import sys
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from click.testing import CliRunner

from goshop.cli import main
from tests.compose.model import datasource
from tests.dashboards.boards import BOARDS
from tests.runbooks import FOLDER, ROOT, commands, logql, promql
from tests.stack.not_run import say_not_run
from tests.stack.prometheus import eventually
from tests.stack.struck import BY_ALERT, FAULTS, INJECTED, Fault, Look
from tests.stack.walking import EVERY, Walk, Watching, staged, walked
from tests.tour import blocks

pytestmark = pytest.mark.timeout(300)

# What docs/slo.md promises of a statement that fails.
STATED_SECONDS = 60.0
FEWEST_BAD = 5
# A scrape and two evaluations, and as much again for a busy machine.
LATE_SECONDS = 6 * EVERY
ARRIVES_SECONDS = 20.0


@pytest.fixture(scope="module")
def watching(prometheus, alertmanager_command, promtail, loki, jaeger):
    return Watching(prometheus, alertmanager_command, promtail, loki, jaeger)


@pytest.fixture(scope="module")
def stage(watching, tmp_path_factory):
    with staged(tmp_path_factory.mktemp("walk"), INJECTED, watching) as found:
        yield found


@pytest.fixture(scope="module", params=FAULTS, ids=lambda fault: fault.name)
def walk(stage, request):
    fault = request.param
    with walked(stage, fault.alert, fault.strike, fault.heal) as found:
        yield found


@pytest.fixture
def fault(walk):
    return BY_ALERT[walk.alert]


def rule_of(alert):
    rules = yaml.safe_load((ROOT / "slo" / "generated" / "rules" / f"{BY_ALERT[alert].service}.yaml").read_text())
    [found] = [rule for group in rules["groups"] for rule in group["rules"] if rule.get("alert") == alert]
    return found


def test_the_alert_fires_within_its_stated_time(walk: Walk):
    [limit] = set(re.findall(r"> (0\.\d+)\)", rule_of(walk.alert)["expr"]))
    assert walk.struck < walk.fired <= walk.struck + STATED_SECONDS
    # What is scraped is recorded at the next evaluation, and judged in it or at the one after.
    assert walk.fired <= walk.exceeded(float(limit), FEWEST_BAD) + LATE_SECONDS


def test_who_is_on_call_is_told_where_to_read_and_where_to_look(walk: Walk, fault: Fault):
    annotations = walk.told()["annotations"]
    runbook = urlsplit(annotations["runbook_url"])
    headings = re.findall(r"^## (.+)$", (ROOT / runbook.path.lstrip("/")).read_text(), re.MULTILINE)
    assert runbook.fragment in {heading.lower().replace(" ", "-") for heading in headings}
    dashboard = urlsplit(annotations["dashboard_url"])
    assert dashboard.path == f"/d/{fault.first.board}"
    assert dashboard.path.removeprefix("/d/") in BOARDS
    assert parse_qs(dashboard.query) == {"var-service": [fault.service]}
    said, limit = re.findall(r"([\d.]+) ?%(?: of all events| \(burn)", annotations["description"])
    assert float(said) > float(limit)


def beyond(walk: Walk, look: Look, service: str) -> list[float]:
    """Return what a panel shows of the fault beyond its limit."""
    found = walk.shown(look.board, look.panel, service)
    limit = look.limit if isinstance(look.limit, float) else float(found[look.limit][0]["value"][1])
    values = [
        float(each["value"][1]) for each in found[look.ref] if each["metric"].items() >= dict(look.labels).items()
    ]
    return [value for value in values if value > limit]


def test_the_dashboard_that_the_alert_leads_to_shows_the_fault(walk: Walk, fault: Fault):
    assert beyond(walk, fault.first, fault.service)


def test_the_runbook_leads_on_to_a_dashboard_that_shows_where(walk: Walk, fault: Fault):
    page = (ROOT / rule_of(walk.alert)["annotations"]["runbook_url"].partition("#")[0].lstrip("/")).read_text()
    links = [urlsplit(link) for link in re.findall(r"\]\((http[^)]+)\)", page)]
    [link] = [link for link in links if link.path == f"/d/{fault.then.board}"]
    [service] = parse_qs(link.query).get("var-service", [".*"])
    assert service in {fault.service, ".*"}
    assert beyond(walk, fault.then, service)


@pytest.fixture(scope="module")
def trace_id(walk):
    """What an exemplar of the dashboard says of a bad request, under the label that Grafana follows."""
    fault = BY_ALERT[walk.alert]
    labels = {each["name"] for each in datasource("prometheus")["jsonData"]["exemplarTraceIdDestinations"]}
    exemplar = walk.exemplars(fault.first.board, fault.service)[-1]
    [name] = labels & exemplar["labels"].keys()
    return exemplar["labels"][name]


def test_an_exemplar_of_it_is_a_trace_across_all_who_took_part(walk: Walk, fault: Fault, trace_id: str):
    spans = walk.trace(trace_id)
    assert {"goshop-gateway", f"goshop-{fault.span[0]}"} <= {span["service"] for span in spans}
    assert {span["traceID"].zfill(32) for span in spans} == {trace_id}


def test_its_trace_leads_to_the_lines_of_that_request_and_no_other(walk: Walk, trace_id: str):
    joint = datasource("tempo")["jsonData"]["tracesToLogsV2"]["query"]
    query = joint.replace("$${__span.traceId}", trace_id)
    written = sorted(walk.written(trace_id))
    assert written
    found = eventually(
        lambda: [texts for texts in [walk.stage.loki.texts(query)] if len(texts) >= len(written)],
        ARRIVES_SECONDS,
        f"{len(written)} lines of {trace_id} are in Loki",
    )
    assert sorted(found[0]) == written
    [access] = [line for line in map(json.loads, written) if line["service"] == "gateway" and "path" in line]
    assert access["path"].startswith("/api/")


def test_the_runbooks_command_for_a_trace_names_the_place(walk: Walk, fault: Fault, trace_id: str):
    walk.trace(trace_id)
    page = ROOT / rule_of(walk.alert)["annotations"]["runbook_url"].partition("#")[0].lstrip("/")
    [command] = {line for line in commands(page) if line.startswith("goshop trace TRACE_ID")}
    words = command.replace("TRACE_ID", trace_id).replace("http://127.0.0.1:3100", walk.stage.loki.url)
    words = words.replace("--tempo http://127.0.0.1:3200", f"--jaeger {walk.stage.jaeger.url}")
    drawn = CliRunner().invoke(main, shlex.split(words)[1:])
    assert drawn.exit_code == 0
    assert fault.span[1].removeprefix("payment.v1.") in drawn.stdout
    told = CliRunner().invoke(main, [*shlex.split(words)[1:], "--json"])
    place = where(json.loads(told.stdout)["spans"], slow=walk.slo.sli.le is not None)
    assert (place["service"], place["name"]) == fault.span


def where(spans, *, slow):
    """Return the place as the runbooks say that it is found: the longest span without children, or the one that failed first."""
    parents = {span["parent_id"] for span in spans}
    leaves = [span for span in spans if span["span_id"] not in parents]
    if slow:
        return max(leaves, key=lambda span: span["end_ns"] - span["start_ns"])
    return min((span for span in spans if span["status"] == "ERROR"), key=lambda span: span["end_ns"])


def test_the_runbooks_commands_confirm_it(walk: Walk, fault: Fault):
    for confirm in fault.confirms:
        page = FOLDER / f"{confirm.page}.md"
        query = next(query for query in promql(page) if confirm.query in query)
        found = walk.stage.prometheus.query(query, walk.seen)
        # What sorts says the worst first; of the others each line counts.
        said = found[:1] if query.startswith(("topk", "sort_desc")) else found
        values = [float(each["value"][1]) for each in said if each["metric"].items() >= dict(confirm.labels).items()]
        assert any(confirm.least <= value <= confirm.most for value in values), (query, found)


def test_the_tours_commands_lead_from_a_point_to_the_request(walk: Walk, fault: Fault):
    """docs/tour.md, step 5: as it stands there for a dead payment, with its own points for the others."""
    [block] = [block for block in blocks("With Docker") if "query_exemplars" in block]
    if fault.name != "dead-service":
        points = f'{walk.slo.sli.everything.metric.removesuffix("_count")}_bucket{{service="{fault.service}"}}'
        block = re.sub(r"POINTS='[^']+'", lambda _: f"POINTS='{points}'", block)
    stage = walk.stage
    for said, here in (
        ("http://127.0.0.1:9090", stage.prometheus.url),
        ("--tempo http://127.0.0.1:3200", f"--jaeger {stage.jaeger.url}"),
        ("http://127.0.0.1:3100", stage.loki.url),
    ):
        assert said in block
        block = block.replace(said, here)
    goshop = f'goshop() {{ "{sys.executable}" -m goshop "$@"; }}\n'
    done = subprocess.run(
        ["bash", "-c", f'{goshop}{block}echo "$TRACE_ID"'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    trace_id = done.stdout.splitlines()[-1]
    assert re.fullmatch(r"[0-9a-f]{32}", trace_id), done.stderr
    assert done.stdout.startswith(f"trace {trace_id}"), done.stderr
    assert fault.service in done.stdout


def test_the_way_by_clicks_is_not_walked_here(pytestconfig):
    reason = (
        "neither it nor Tempo is a Go module; Jaeger stands for Tempo, and what each joint would ask is asked instead"
    )
    say_not_run(pytestconfig, "the walk by clicks in Grafana", reason)


def test_what_the_runbook_asks_of_lines_is_answered(walk: Walk):
    page = ROOT / rule_of(walk.alert)["annotations"]["runbook_url"].partition("#")[0].lstrip("/")
    asked = [query for query in logql(page) if "exception" not in query]
    assert [query for query in asked if not walk.stage.loki.texts(query)] == []
