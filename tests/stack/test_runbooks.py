"""What docs/runbooks has typed, asked of a real Prometheus that watches a shop whose searches fail, of that shop, and of a Loki.

As it stands there, in a shell; only addresses are others. What needs Docker is in test_stack_up, the walk from an alert in test_walk.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from slo.verdict import EXITS
from tests.runbooks import FOLDER, ROOT, commands, promql
from tests.stack.not_run import say_not_run
from tests.stack.struck import FAULTS

pytestmark = pytest.mark.timeout(300)
# What the first look at an outage of these two finds: the fault that the story injects.
FOUND = {
    "gateway-availability": {"endpoint": "/api/products"},
    "product-availability": {"rpc_method": "SearchProducts"},
}


COMMANDS = sorted({line for line in commands() if line.startswith(("curl ", "goshop slo "))})
# A question has an answer; who asks for a budget is told by the exit code, too, what is left of it.
DONE = {"curl": {0}, "goshop slo check": {0}, "goshop slo budget": {0, EXITS["error"], EXITS["frozen"]}}


@pytest.mark.parametrize("query", sorted(set(promql())))
def test_a_query_is_one_that_prometheus_takes(story, query):
    story.server.query(query, story.ended)


@pytest.mark.parametrize("page", FOUND)
def test_the_first_look_shows_the_fault(story, page):
    first = next(iter(promql(FOLDER / f"{page}.md")))
    worst, *_ = story.server.query(first, story.ended)
    assert worst["metric"].items() >= FOUND[page].items()
    assert float(worst["value"][1]) > 0


def test_it_is_over_when_its_alerts_are(story):
    (firing,) = {query for query in promql() if query.startswith('ALERTS{sloth_id="gateway-availability"')}
    assert story.server.query(firing, story.ended)
    assert story.server.query(firing, story.calm_until) == []


def typed(line, addresses):
    """Run a command as it stands there; returns its exit code and what it has said."""
    for said, here in addresses.items():
        line = line.replace(said, here)
    goshop = f'goshop() {{ "{sys.executable}" -m goshop "$@"; }}\n'
    return subprocess.run(
        ["bash", "-c", goshop + line], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("line", [line for line in COMMANDS if ":3200" not in line])
def test_a_command_is_answered(line, story, loki, pytestconfig):
    words = shlex.split(line)
    if shutil.which(words[0]) is None and words[0] != "goshop":
        say_not_run(pytestconfig, f"the runbooks' commands of {words[0]}", "it is not installed")
    here = {
        "http://127.0.0.1:8080": story.shop.url,
        "http://127.0.0.1:9090": story.server.url,
        "http://127.0.0.1:3100": loki.url,
    }
    done = typed(line, here)
    [codes] = [codes for begins, codes in DONE.items() if line.startswith(begins)]
    assert done.returncode in codes, done.stderr
    assert "Traceback" not in done.stderr
    if "/loki/" in line:
        assert json.loads(done.stdout)["status"] == "success", done.stdout
    elif words[0] == "curl":
        assert "x-trace-id: " in done.stdout.lower()
    elif " budget " in line:
        assert "gateway-availability" in done.stdout


def test_the_readme_says_which_pages_are_walked_for_which_fault():
    rows = re.findall(r"^\| ([a-z ]+) \| `(\w+)` \| (.+) \|$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    said = {(fault, alert, *sorted(set(re.findall(r"\[([\w-]+)\]", pages)))) for fault, alert, pages in rows}
    assert said == {
        (fault.name.replace("-", " "), fault.alert, *sorted({confirm.page for confirm in fault.confirms}))
        for fault in FAULTS
    }
