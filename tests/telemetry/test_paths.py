"""Where something is configured that fast spans cannot honour, spans of the SDK are made, and one log line says why."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from telemetry import conventions as c

ROOT = Path(__file__).parents[2]

# Finds the compiled request path in the file that is named in front of the other arguments, "" for pure Python.
BUILT = """
import sys
from importlib.util import spec_from_file_location
class Built:
    path = sys.argv.pop(1)
    def find_spec(self, name, *_):
        return spec_from_file_location(name, self.path) if name == "telemetry._hotpath" and self.path else None
sys.meta_path.insert(0, Built())
"""

# A process whose set-up is changed by two snippets: before it is configured, and afterwards.
PROCESS = """
import asyncio, itertools, json, sys
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler
from opentelemetry.trace import SpanKind
from telemetry import TelemetryMiddleware, current, tracing
from telemetry.recording import Template
from telemetry.testing import capture_spans, fresh_telemetry

seen = []
told = {"kinds": []}

class Watching(SpanProcessor):
    def on_start(self, span, parent_context=None):
        seen.append("start of " + span.name)
    def on_end(self, span):
        seen.append("end of " + span.name)

class Asking(Sampler):
    def should_sample(self, parent_context, trace_id, name, *arguments, **options):
        seen.append("asked about " + name)
        return ALWAYS_ON.should_sample(parent_context, trace_id, name, *arguments, **options)
    def get_description(self):
        return "Asking"

class Counting(IdGenerator):
    numbers = itertools.count(1)
    def generate_span_id(self):
        return next(self.numbers)
    generate_trace_id = generate_span_id

async def app(scope, receive, send):
    span = trace.get_current_span()
    span.set_attribute("mine", "0123456789")
    operation = current.recorder().begin(Template("ours", SpanKind.CLIENT, {"a": 1}))
    operation.conclude()
    with trace.get_tracer("somebody").start_as_current_span("theirs") as theirs:
        told["kinds"] += [type(each).__module__ for each in (span, operation.span, theirs)]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})

async def serve(shop):
    async def nothing(*_): pass
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    await TelemetryMiddleware(app, shop)(scope, nothing, nothing)

exec(sys.argv[1])
shop, logs = fresh_telemetry()
exec(sys.argv[2])
if isinstance(trace.get_tracer_provider(), tracing.Provider):
    with capture_spans() as spans:
        asyncio.run(serve(shop))
    told["spans"] = {span.name: [span.trace_id, span.span_id, span.parent_id, span.attributes] for span in spans}
else:
    asyncio.run(serve(shop))
shop.shutdown()
print(json.dumps({**told, "seen": seen, "lines": logs.lines, "obstacle": shop.recorder.obstacle}))
"""
Run = Callable[..., str]
Process = Callable[..., "Told"]
ADD = "trace.get_tracer_provider().add_span_processor(Watching())"
OURS = "provider = tracing.Provider(Resource.create()); provider.{}; trace.set_tracer_provider(provider)"
NAMES = ("GET", "ours", "theirs")


@dataclass(frozen=True)
class Told:
    """What a process said at its end."""

    kinds: list[str]
    spans: dict[str, list[Any]]
    seen: list[str]
    warnings: list[str]
    obstacle: str

    @property
    def seen_whole(self) -> bool:
        """Whether a processor saw the beginning and the end of each span."""
        return sorted(self.seen) == sorted(f"{what} of {name}" for what in ("start", "end") for name in NAMES)


@pytest.fixture
def extension(build: str, request: pytest.FixtureRequest) -> str:
    """The file of the compiled request path, "" for pure Python."""
    return str(request.getfixturevalue("hotpath").__file__) if build == "compiled" else ""


@pytest.fixture
def run(extension: str) -> Run:
    """Run a program on one of the two request paths; returns its last line."""

    def run(code: str, *arguments: str, **environ: str) -> str:
        command = [sys.executable, "-W", "error", "-c", BUILT + code, extension, *arguments]
        environ = os.environ | {"GOSHOP_TELEMETRY_PURE_PYTHON": "" if extension else "1"} | environ
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return "".join(done.stdout.splitlines()[-1:])

    return run


@pytest.fixture
def process(run: Run) -> Process:
    """Serve a request in a process; returns what that said at its end."""

    def process(before: str = "", after: str = "", **environ: str) -> Told:
        said = json.loads(run(PROCESS, before, after, **environ))
        # The SDK says things of its own about its limits.
        warnings = [line[c.LOG_MESSAGE] for line in said["lines"] if line[c.LOG_LOGGER].startswith("telemetry.")]
        return Told(said["kinds"], said.get("spans", {}), said["seen"], warnings, said["obstacle"])

    return process


FAST = {"pure Python": "telemetry.request", "compiled": "telemetry.compiled"}
SDK = ["opentelemetry.sdk.trace"] * 3


def test_without_an_obstacle_spans_are_fast_and_nothing_is_said(process: Process, build: str):
    told = process()
    fast = [FAST[build], "telemetry.operations", "opentelemetry.sdk.trace"]
    assert (told.kinds, told.warnings, told.obstacle) == (fast, [], "")
    belong_together(told)


def belong_together(told: Told) -> None:
    """The request's span is the parent of the two others, of whichever kind they are."""
    assert set(told.spans) == set(NAMES)
    (trace_id, root, none, _), *children = (told.spans[name] for name in NAMES)
    assert none == ""
    assert [(child[0], child[2]) for child in children] == [(trace_id, root)] * 2


@pytest.mark.parametrize(("before", "after"), [(f"fresh_telemetry(); {ADD}", ""), ("", ADD)], ids=["before", "after"])
def test_a_processor_sees_every_span_whenever_it_was_added(process: Process, before: str, after: str):
    told = process(before, after)
    assert told.seen_whole
    assert told.kinds == SDK
    assert told.warnings == ["a span processor was added, so every span is one of the SDK's, at several times the cost"]
    belong_together(told)


def test_a_processor_that_is_added_later_is_said_once(process: Process):
    told = process("", f"{ADD}; {ADD}")
    assert len(told.warnings) == 1


def test_a_provider_that_was_there_first_sees_every_span(process: Process):
    told = process("provider = TracerProvider(); provider.add_span_processor(Watching()); trace.set_tracer_provider(provider)")  # fmt: skip
    assert told.seen_whole
    assert told.kinds == SDK
    assert told.warnings == ["another tracer provider was there first: its exporters and sampler are used"]


def test_a_sampler_of_somebody_s_own_is_asked_about_every_span(process: Process):
    told = process(OURS.format("sampler = Asking()"))
    assert told.seen == [f"asked about {name}" for name in NAMES]
    assert told.kinds == SDK
    assert [warning.partition(",")[0] for warning in told.warnings] == ["the sampler is none of the SDK's own"]
    belong_together(told)


def test_ids_come_from_a_generator_of_somebody_s_own(process: Process):
    told = process(OURS.format("id_generator = Counting()"))
    ids = sorted(int(number, 16) for span in told.spans.values() for number in span[:2])
    assert max(ids) <= 4
    assert told.kinds == SDK
    assert len(told.warnings) == 1


@pytest.mark.parametrize("variable", ["OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"])
def test_a_limit_of_length_is_kept(process: Process, variable: str):
    told = process(**{variable: "5"})
    assert told.spans["GET"][3]["mine"] == "01234"
    assert (told.kinds, len(told.warnings)) == (SDK, 1)


def test_a_low_limit_of_attributes_is_kept(process: Process):
    told = process(OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT="3")
    assert len(told.spans["GET"][3]) == 3
    assert (told.kinds, len(told.warnings)) == (SDK, 1)


def test_the_sdk_counts_its_own_spans_where_it_is_to(process: Process):
    told = process(OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED="true")
    assert (told.kinds, len(told.warnings)) == (SDK, 1)
    belong_together(told)


def test_a_disabled_sdk_makes_no_span_and_leaves_out_the_warning(process: Process):
    told = process(after=ADD, OTEL_SDK_DISABLED="true")
    assert (told.spans, told.seen) == ({}, [])
    assert not [warning for warning in told.warnings if "cost" in warning]


@pytest.mark.parametrize(
    ("sampler", "argument", "sampled"),
    [
        ("always_on", "", True),
        ("always_off", "", False),
        ("traceidratio", "1.0", True),
        ("traceidratio", "0.0", False),
        ("parentbased_always_on", "", True),
        ("parentbased_always_off", "", False),
        ("parentbased_traceidratio", "1.0", True),
        ("parentbased_traceidratio", "0.0", False),
    ],
)
def test_each_sampler_of_the_standard_variable_is_honoured_by_fast_spans(
    process: Process, sampler: str, argument: str, *, sampled: bool
):
    told = process(OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG=argument)
    assert told.obstacle == ""
    assert set(told.spans) == (set(NAMES) if sampled else set())


# --- what is configured must not fail a request -----------------------------------------------------------------------

FAULTY = """
class Faulty(SpanProcessor):
    def on_start(self, span, parent_context=None):
        if {start}: raise ValueError("on start")
    def on_end(self, span):
        raise ValueError("on end")
trace.get_tracer_provider().add_span_processor(Faulty())
async def app(scope, receive, send):
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body"}})
"""


@pytest.mark.parametrize("start", [True, False])
def test_a_processor_that_fails_takes_neither_the_answer_nor_the_line(run: Run, *, start: bool):
    code = PROCESS.replace("logs.lines,", "logs.lines, 'busy': shop.metrics.http_in_progress['GET'].value,")
    said = json.loads(run(code, "", FAULTY.format(start=start)))
    access = [line for line in said["lines"] if line[c.LOG_LOGGER] == c.ACCESS_LOGGER]
    assert [(line[c.LOG_STATUS_CODE], len(line[c.LOG_TRACE_ID])) for line in access] == [(200, 32)]
    assert said["busy"] == 0


# --- fork -------------------------------------------------------------------------------------------------------------

FORK = """
import os, sys
from opentelemetry import trace
from opentelemetry.trace import SpanKind
import telemetry
from telemetry import current
from telemetry.recording import Template

def leave(name):
    current.recorder().begin(Template(name, SpanKind.CLIENT)).conclude()
    with trace.get_tracer("theirs").start_as_current_span(name + ", theirs"): pass

shop = telemetry.configure("forking")
leave("before")
children = []
for number in range(2):
    pid = os.fork()
    if pid == 0:
        for _ in range(20): leave(f"child {number}")
        shop.shutdown()
        os._exit(0)
    children.append(pid)
for _ in range(20): leave("parent")
for pid in children: assert os.waitpid(pid, 0)[1] == 0
shop.shutdown()
"""


def test_a_fork_makes_ids_of_its_own_and_exports_nothing_twice(run: Run, collector: Any):
    # Nothing is exported before the forks: what waits then is the parent's.
    environ = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "30000"}
    run(FORK, **environ)
    names = [span.name for span in collector.spans]
    per_process = {name: names.count(name) for name in names}
    crowd = ("child 0", "child 1", "parent")
    expected = {f"{name}{kind}": 20 for name in crowd for kind in ("", ", theirs")} | {"before": 1, "before, theirs": 1}
    assert per_process == expected
    assert len({span.span_id for span in collector.spans}) == len({span.trace_id for span in collector.spans}) == 122
