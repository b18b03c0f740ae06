"""docs/runbooks: every alert has its section, and every command in them is one that works."""

import re
import shlex
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import click
import psycopg
import pytest
import yaml

from app import config
from app.faults import parse_faults
from goshop.cli import main
from scripts.stack_files import RUNBOOKS
from slo.openslo.known_series import EXPORTED, TARGET_LABELS
from tests.compose.model import COMPOSE, services
from tests.runbooks import PAGES, README, ROOT, STACK, commands, logql, practised, promql, statements, traceql

RULES = sorted((ROOT / "slo" / "generated" / "rules").glob("*.yaml"))
# What the rules record, Prometheus adds, and the client library says of the process.
OTHERS = {"up", "ALERTS", "process_start_time_seconds", "slo:sli_error:ratio_rate5m"}
DASHBOARDS = {
    *("goshop-service", "goshop-latency", "goshop-slow-queries", "goshop-errors", "goshop-pools"),
    *("goshop-slo", "goshop-gates", "goshop-dependencies", "goshop-telemetry"),
}


def alerts() -> dict[str, str]:
    """Return the runbook of every committed alert by its name."""
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return {
        rule["alert"]: rule["annotations"]["runbook_url"]
        for group in groups
        for rule in group["rules"]
        if "alert" in rule
    }


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE)
    return {heading.lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("alert", "link"), alerts().items())
def test_an_alert_leads_to_a_section_that_is_there(alert, link):
    page, _, section = link.partition("#")
    path = ROOT / page.lstrip("/")
    assert path.is_file()
    assert section in anchors(path)
    # Its own: GatewayLatencyFastBurn is told of on the page of gateway-latency.
    assert re.sub(r"\W", "", path.stem) in alert.lower()


def test_no_section_is_about_an_alert_that_there_is_not():
    linked = {link.lstrip("/") for link in alerts().values()}
    sections = {"outage", "fast-burn", "burn", "slow-burn", "no-data", "not-counted", "no-traffic", "no-bucket"}
    told = {f"docs/runbooks/{page.name}#{anchor}" for page in PAGES for anchor in anchors(page) & sections}
    assert told == linked


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_where_to_look_how_to_confirm_and_how_one_knows_that_it_is_over(page):
    headings = re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE)
    assert headings[:3] == ["Look first", "Causes", "It is over"]
    assert headings[-1] == "Practise"


@pytest.mark.parametrize("page", [*PAGES, README, STACK, ROOT / "docs" / "runbooks.md"], ids=str)
def test_a_link_of_a_page_leads_somewhere(page):
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        if "://" not in link:
            assert (page.parent / path).is_file()
            assert not anchor or anchor in anchors(page.parent / path)
        else:
            _, host, path, *_ = urlsplit(link)
            assert (host, path.removeprefix("/d/") in DASHBOARDS) == ("127.0.0.1:3000", True)


def test_a_link_that_was_made_before_still_leads_on():
    old = {
        "gateway-availability",
        "gateway-latency",
        "inner-availability",
        "inner-latency",
        "an-alert-for-missing-data",
    }
    assert anchors(ROOT / "docs" / "runbooks.md") == old


def test_every_command_is_of_a_kind_that_is_tried():
    typed = [re.sub(r"^GOSHOP_STACK_FAULTS='[^']*' ", "", line) for line in commands()]
    kinds = {" ".join(words[:2]) if words[0] != "curl" else "curl" for words in map(shlex.split, typed)}
    ours = ".venv/bin/python scripts/stack.py"
    assert kinds == {"docker compose", "curl", "goshop trace", "goshop slo", ours}
    assert [line for line in typed if line.startswith(ours)] == [f"{ours} load"]


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem != "user-latency"], ids=lambda page: page.stem)
def test_what_is_practised_is_a_fault_of_the_service_that_is_started_with_it(page):
    ((fault, service),) = practised(page)
    (parsed,) = parse_faults(fault)
    assert parsed.point.partition(".")[0] == service
    assert (
        f"\n\n```sh\ndocker compose up --detach --no-deps {service}\n```\n"
        in page.read_text().partition("## Practise")[2]
    )
    assert services()[service]["environment"]["GOSHOP_FAULTS"] == "${GOSHOP_STACK_FAULTS:-}"
    # Only the latency of what is slow more than once in a hundred is seen at once.
    assert parsed.kind == "kill" or parsed.share >= 0.3


def test_whoever_may_restart_redis_is_told_what_it_costs():
    assert config.load("staging", environ={}).rate_limit.when_unavailable == "deny"
    told = [page for page in PAGES if "docker compose restart redis" in page.read_text()]
    assert told
    for page in told:
        before, _, _ = page.read_text().partition("docker compose restart redis")
        assert "**every request is refused with 503**" in before


@pytest.mark.parametrize("command", sorted({line for line in commands() if line.startswith("goshop ")}))
def test_a_command_of_ours_takes_what_it_is_given(command):
    words = shlex.split(command)[1:]
    found: click.Command = main
    while isinstance(found, click.Group):
        found = found.commands[words.pop(0)]
    # Parsed, not run: wrong options and missing arguments are errors of this.
    found.make_context(found.name, words)


@pytest.mark.parametrize("command", sorted({line for line in commands() if line.startswith("docker compose ")}))
def test_a_command_of_docker_compose_is_about_services_that_there_are(command):
    step, *words = shlex.split(command)[2:]
    assert step in {"exec", "ps", "logs", "up", "restart", "run"}
    known = {"--all", "--tail", "20", "--detach", "--no-deps", "--rm"}
    names = [word for word in words if word not in known]
    named = names[:1] if step == "exec" else names
    assert named
    assert set(named) <= services().keys()


@pytest.mark.parametrize("query", sorted(set(promql())))
def test_a_query_selects_series_and_labels_that_are_exported(query):
    bare = re.sub(r'"[^"]*"', '""', query)
    names = set(re.findall(r"\b([a-z_]+(?:_seconds|_total|_connections|_progress)(?:_bucket|_count|_sum)?)\b", bare))
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in names}
    assert families <= EXPORTED.keys() | OTHERS
    assert families or any(name in bare for name in OTHERS)
    labels = {
        label
        for group in re.findall(r"\{([^}]*)\}|\bby \(([^)]*)\)", bare)
        for label in re.findall(r"\w+", "".join(group))
    }
    own = {label for family in families & EXPORTED.keys() for label in EXPORTED[family].labels}
    assert labels <= own | {*TARGET_LABELS, "le", "sloth_id", "alertstate"}


def test_an_alert_about_the_stack_has_a_section_whose_question_is_its_own():
    (group,) = yaml.safe_load((COMPOSE / "stack-rules.yaml").read_text())["groups"]
    sections = [rule["annotations"]["runbook_url"].partition("#") for rule in group["rules"]]
    assert {page for page, _, _ in sections} == {f"{RUNBOOKS}/docs/runbooks/stack.md"}
    assert [section for _, _, section in sections] == re.findall(
        r"^## (.+)$", STACK.read_text().lower().replace(" ", "-").replace("##-", "## "), re.MULTILINE
    )
    for rule in group["rules"]:
        assert rule["alert"] in STACK.read_text()
    asked = {name for query in promql(STACK) for name in re.findall(r"\b(?:up|[a-z_]+_total)\b", query)}
    watched = {name for rule in group["rules"] for name in re.findall(r"\b(?:up|[a-z_]+_total)\b", rule["expr"])}
    assert {"up", "telemetry_spans_dropped_total", "promtail_dropped_entries_total"} <= asked <= watched
    assert {name for name in watched if name.startswith("telemetry_")} <= EXPORTED.keys()


@pytest.mark.parametrize("query", sorted(set(logql())))
def test_a_query_for_lines_selects_by_what_promtail_sets(query):
    (selector,) = re.findall(r"^\{([^}]*)\}", query)
    assert set(re.findall(r"(\w+)=", selector)) <= {"job", "service", "level"}


@pytest.mark.parametrize("query", sorted(set(traceql())))
def test_a_search_for_traces_names_services_as_their_spans_do(query):
    (service,) = re.findall(r'resource\.service\.name="goshop-(\w+)"', query)
    assert service in services()


@pytest.fixture(scope="module")
def databases(new_database):
    """Every service's database with its tables."""
    found = {}
    for service in ("user", "product", "order", "payment"):
        found[f"goshop_{service}"] = new_database(f"goshop_{service}")
        with psycopg.connect(found[f"goshop_{service}"], autocommit=True) as conn:
            for script in sorted((ROOT / "app" / "migrations" / service).glob("*.sql")):
                conn.execute(script.read_text())
    return found


@pytest.mark.parametrize(("database", "statement"), sorted(set(statements())))
def test_a_statement_is_one_that_the_database_runs(databases, database, statement):
    with psycopg.connect(databases[database], autocommit=True) as conn:
        conn.execute(statement)


def test_the_one_statement_that_ends_something_leaves_work_alone(databases):
    (statement,) = {text for database, text in statements() if "terminate" in text and database == "goshop_order"}
    busy = psycopg.connect(databases["goshop_order"])
    busy.execute("SELECT 1")
    with psycopg.connect(databases["goshop_order"]) as conn:
        assert conn.execute(statement).fetchall() == []
        at_once = statement.replace("30 seconds", "0 seconds")
        assert [pid for pid, _ in conn.execute(at_once)] == [busy.info.backend_pid]
    busy.close()


@pytest.mark.parametrize("command", sorted({line for line in commands() if "python -c" in line}))
def test_what_python_is_given_is_python(command):
    code = shlex.split(command)[-1]
    compile(code, "runbook", "exec")


def test_a_shell_reads_every_block():
    text = "\n".join(commands())
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
