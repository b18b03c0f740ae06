"""Reconciliation through the back-ends: what k6 sent, Prometheus counted, the trace store has spans of and Loki has lines of.

The shop runs as in the stack: it exports its spans itself, its lines go through Promtail, its counters are scraped. The gate loads
it by its address, and sends k6's own spans to the same trace store.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import loadtests
from goshop.run import RunFolder
from loadtests import Arrivals, Profile, Sample, SampleReader
from loadtests.client_spans import span_id
from loadtests.seed import SeedSize, seed_shop
from slo.reconcile import Witnesses, endangered_ids, reconcile, unanswered_ids
from tests.stack.backend import Backend
from tests.stack.jaeger import Jaeger
from tests.stack.loki import Loki
from tests.stack.prometheus import eventually
from tests.stack.reconciling import ARRIVES_SECONDS, Stack, stacked

pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).parents[2]
# 7 s at 150 requests/s: too short to be a verdict, long enough to be counted.
SHORTENED = (
    "-m",
    "tests.goshop.shortened",
    "0.2",
    "gate",
    "--profile",
    "smoke",
    "--history",
    "none",
    "--no-early-stop",
)
JUDGED = {0, 1, 3}
BRIEF = Profile(name="brief", load=Arrivals(rate=60, users=60), seconds=6.0)
KILLED_AFTER = 2.0
RESENDABLE = {"GET", "POST /api/orders"}


@dataclass(frozen=True)
class Judged:
    """A gate's run: its folder, its verdict, its samples, and where the back-ends are."""

    run: RunFolder
    verdict: dict[str, object]
    samples: list[Sample]
    stack: Stack

    @property
    def ids(self) -> Counter[str]:
        return Counter(sample.trace_id for sample in self.samples)


@pytest.fixture(scope="module")
def stack(
    prometheus: Path,
    promtail: Callable[[Path], Backend],
    loki: Loki,
    jaeger: Jaeger,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    with stacked(prometheus, tmp_path_factory.mktemp("reconciled"), promtail, loki, jaeger) as found:
        yield found


@pytest.fixture(scope="module")
def judged(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """A gate that loads the shop of the stack by its address."""
    root = tmp_path_factory.mktemp("gate")
    email, password = stack.shop.admin
    environ = {
        **os.environ,
        "GOSHOP_AUTH__ADMIN_EMAIL": email,
        "GOSHOP_AUTH__ADMIN_PASSWORD": password,
        "OTEL_EXPORTER_OTLP_ENDPOINT": stack.jaeger.otlp_url,
    }
    command = [sys.executable, *SHORTENED, "--url", stack.shop.url, "--dir", str(root), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environ)
    assert done.returncode in JUDGED, done.stderr
    assert "did not get to the collector" not in done.stderr
    run = RunFolder.latest(root)
    reader = SampleReader(run.k6 / "samples.csv")
    reader.poll()
    return Judged(run, json.loads(done.stdout), reader.samples, stack)


def test_prometheus_has_counted_each_request_of_the_gate(judged: Judged) -> None:
    sent = len(judged.samples)
    assert sent == judged.verdict["reconciliation"]["k6"] > 900
    counted = judged.stack.settled(lambda: judged.stack.counted(judged.samples), sent)
    assert counted == sent


def test_the_trace_store_has_a_server_span_of_each_request_of_the_gate(judged: Judged) -> None:
    stack = judged.stack
    assert stack.settled(lambda: stack.server_spans(judged.samples), judged.ids) == judged.ids


def test_loki_has_an_access_line_of_each_request_of_the_gate(judged: Judged) -> None:
    stack = judged.stack
    assert stack.settled(lambda: stack.access_lines(judged.samples), judged.ids) == judged.ids


def test_every_trace_of_the_gate_has_its_one_root_at_k6(judged: Judged) -> None:
    stack = judged.stack
    # Its last spans may still be on their way.
    assert stack.settled(lambda: stack.server_spans(judged.samples), judged.ids) == judged.ids
    # The gateway has traces of its own, too, such as its look at the keys.
    traces = [trace for trace in stack.traces(judged.samples) if trace["traceID"].zfill(32) in judged.ids]
    assert len(traces) == len(judged.ids)
    for trace in traces:
        roots = [span for span in trace["spans"] if not span["references"]]
        assert [trace["processes"][span["processID"]]["serviceName"] for span in roots] == ["goshop-k6"]
        assert roots[0]["spanID"] == span_id(trace["traceID"].zfill(32))


def test_a_gateway_that_is_killed_leaves_no_difference_unexplained(stack: Stack, tmp_path: Path) -> None:
    data = tmp_path / "seed.json"
    seed_shop(stack.shop.url, stack.shop.admin, data, size=SeedSize(users=20, products=50, orders=20))
    stack.scraped()
    kills: list[float] = []

    def kill_once(progress: loadtests.Progress) -> None:
        if progress.requests and progress.elapsed > KILLED_AFTER and not kills:
            kills.append(time.time())
            stack.shop.kill("gateway")
            stack.shop.restart("gateway")

    load = loadtests.run(BRIEF, stack.shop.url, data, tmp_path / "k6", on_progress=kill_once)
    assert kills
    found = reconciled(stack, load, kills)
    assert found.agree, found
    assert found.k6 > found.access_lines > 0
    # Nothing but the time around the kill is lost.
    assert found.never_reached + found.lost_with_process < 60 * 5
    assert found.never_reached > 0


def reconciled(stack: Stack, load: loadtests.LoadRun, kills: list[float]):
    ids, samples = Counter(sample.trace_id for sample in load.samples), load.samples
    answered = ids - unanswered_ids(samples)
    endangered = endangered_ids(samples, kills)
    safe = {trace_id for trace_id in answered if trace_id not in endangered}
    what = "what was answered long before or after the kill is there"
    eventually(lambda: safe <= stack.server_spans(samples).keys(), ARRIVES_SECONDS, f"spans: {what}")
    eventually(lambda: safe <= stack.access_lines(samples).keys(), ARRIVES_SECONDS, f"lines: {what}")
    return reconcile(
        Witnesses(
            k6=ids,
            unanswered=unanswered_ids(samples),
            resendable=frozenset(s.trace_id for s in samples if {s.method, s.endpoint} & RESENDABLE),
            endangered=endangered,
            server_spans=stack.server_spans(samples),
            access_lines=stack.access_lines(samples),
            server_metrics=stack.counted(samples),
            interrupted=load.interrupted,
            gateway_killed=True,
        )
    )
