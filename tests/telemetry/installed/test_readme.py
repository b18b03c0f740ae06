"""telemetry/README.md: every snippet runs as it stands there, and every table says what the code says."""

import re
import shlex
import sys
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from telemetry import asgi
from telemetry import conventions as c
from telemetry.exposition import metrics_response
from telemetry.histogram import LABEL_SETS
from telemetry.metrics import metrics_of
from telemetry.span_queue import QueueLimits

ROOT = Path(__file__).parents[3]
README = (ROOT / "telemetry" / "README.md").read_text()


def sections(page: str) -> dict[str, str]:
    """Return what stands below each heading, up to the next one; a comment in a snippet is no heading."""
    found: dict[str, str] = {}
    title, fenced = "", False
    for line in page.splitlines(keepends=True):
        fenced ^= line.startswith("```")
        if line.startswith("#") and not fenced:
            title = line.strip("# \n")
        else:
            found[title] = found.get(title, "") + line
    return found


SECTIONS = sections(README)
# By the heading above it, at most one below each.
SNIPPETS = {title: text.split("```")[1].partition("\n")[2] for title, text in SECTIONS.items() if "```" in text}
APPLICATIONS = {
    "Plain ASGI": ("/anything", ""),
    "Litestar": ("/items/7", "/items/{item}"),
    "FastAPI": ("/items/7", "/items/{item}"),
    "Starlette": ("/items/7", "/items/{item}"),
}
# What plain ASGI has no router for.
WITH_METRICS = """
from app import app as inner
from goshop_telemetry.exposition import metrics_app

async def app(scope, receive, send):
    await (metrics_app if scope.get("path") == "/metrics" else inner)(scope, receive, send)
"""
BEGIN = "import asyncio\nfrom goshop_telemetry import configure\ntelemetry = configure('snippet')\n"
FLUSH = "telemetry.shutdown()\n"
DATABASE = """
async def main():
    async with pool:
        async with pool.connection() as connection:
            await connection.execute("CREATE TABLE items (id int, name text)")
            await connection.execute("INSERT INTO items VALUES (7, 'a lamp')")
        assert await name_of(7) == ("a lamp",)

asyncio.run(main())
"""
REDIS = """
async def main():
    assert await remember("snippet", "kept") == b"kept"
    await redis.aclose()

asyncio.run(main())
"""
GRPC = """
async def main():
    async def echo(request, context):
        return request

    server = new_server()
    handlers = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("snippet.Service", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with new_channel(f"127.0.0.1:{port}") as channel:
        assert await channel.unary_unary("/snippet.Service/Echo")(b"hello") == b"hello"
    await server.stop(None)

asyncio.run(main())
"""
OTHERS = "provider.get_tracer('others').start_span('theirs').end()\nprovider.shutdown()\n"
AT_0 = """
from prometheus_client import REGISTRY
telemetry.metrics.http_duration["GET", "/items", "200"].observe(1)
labels = {"method": "GET", "endpoint": "/items", "status_code": "503"}
assert REGISTRY.get_sample_value("http_request_duration_seconds_count", labels) == 0
"""
# Heading of the snippet, what stands before and behind it, and the spans that come of it.
PROGRAMS = {
    "First errors": ("", AT_0 + FLUSH, []),
    "Spans and lines of your own": ("", "assert total([1, 2]) == 3\n" + FLUSH, ["prices.total"]),
    "PostgreSQL by psycopg": (BEGIN, DATABASE + FLUSH, ["SELECT items"]),
    "Redis and Valkey by redis-py": (BEGIN, REDIS + FLUSH, ["PIPELINE", "GET"]),
    "gRPC by grpc.aio": (BEGIN, GRPC + FLUSH, ["snippet.Service/Echo", "snippet.Service/Echo"]),
    "Spans of others: the exporter alone": ("", OTHERS, ["theirs"]),
}
INSTALLATION, ZERO_CODE, TESTS = "goshop-telemetry", "Zero code", "Tests of your own"
END = "The end of the process"


@pytest.fixture
def exported(collector: Any) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector.url}


@pytest.mark.parametrize("title", APPLICATIONS)
def test_an_application_is_told_of_in_full(
    start: Any, collector: Any, eventually_true: Any, exported: dict[str, str], title: str
):
    path, endpoint = APPLICATIONS[title]
    plain = title == "Plain ASGI"
    files = {"app.py": SNIPPETS[title], "served.py": WITH_METRICS if plain else "from app import app\n"}
    with start(files, "uvicorn", "served:app", "--port", "0", **exported) as process:
        answer = process.get(path)
        metrics = process.get("/metrics").text
        (span,) = eventually_true(lambda: collector.spans, process)
    (line,) = process.access_lines
    assert answer.status_code == 200
    assert answer.headers["x-trace-id"] == span.trace_id == line["trace_id"]
    assert (span.name, line["endpoint"]) == (f"GET {endpoint}".rstrip(), endpoint)
    assert f'http_request_duration_seconds_count{{endpoint="{endpoint}",method="GET",status_code="200"}} 1.0' in metrics
    assert process.stderr.count("\n") == process.stderr.count("INFO:")


def test_the_zero_code_command_serves_an_application_that_knows_nothing(
    start: Any, collector: Any, eventually_true: Any, exported: dict[str, str]
):
    words = shlex.split(SNIPPETS[ZERO_CODE])
    environ = dict(word.split("=", 1) for word in words if "=" in word)
    command = [word for word in words if "=" not in word]
    assert environ.keys() == {"OTEL_SERVICE_NAME", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_PROMETHEUS_PORT"}
    here = exported | {"OTEL_EXPORTER_PROMETHEUS_PORT": "0", "OTEL_SERVICE_NAME": environ["OTEL_SERVICE_NAME"]}
    application = "from fastapi import FastAPI\napp = FastAPI()\n"
    with start({"app.py": application}, *command, "--port", "0", **here) as process:
        answer = process.get("/nothing")
        (span,) = eventually_true(lambda: collector.spans, process)
    assert (span.trace_id, span.service) == (answer.headers["x-trace-id"], "shop")
    assert process.access_lines[0]["status_code"] == 404


def test_a_process_that_ends_as_the_page_says_loses_nothing(start: Any, collector: Any, exported: dict[str, str]):
    later = exported | {"OTEL_BSP_SCHEDULE_DELAY": "60000"}
    with start({"app.py": SNIPPETS[END]}, "uvicorn", "app:app", "--port", "0", **later) as process:
        answer = process.get("/nothing")
        process.stop()
    assert [span.trace_id for span in collector.spans] == [answer.headers["x-trace-id"]]
    assert process.lines[-1]["message"].startswith("Finished server process")


@pytest.mark.parametrize("title", PROGRAMS)
def test_a_program_makes_the_spans_that_it_says(
    start: Any, collector: Any, request: pytest.FixtureRequest, exported: dict[str, str], title: str
):
    before, behind, names = PROGRAMS[title]
    code = SNIPPETS[title]
    environ = dict(exported)
    if "DATABASE_URL" in code:
        environ["DATABASE_URL"] = request.getfixturevalue("database")
    if "REDIS_URL" in code:
        environ["REDIS_URL"] = request.getfixturevalue("valkey_url")
    files = {"program.py": before + code + behind}
    with start(files, sys.executable, "program.py", address=False, **environ) as process:
        assert process.process.wait(20) == 0, process.stderr
    assert [span.name for span in collector.spans if span.name in names] == names


def test_a_line_of_one_s_own_has_the_ids_of_its_span(start: Any, collector: Any, exported: dict[str, str]):
    title = "Spans and lines of your own"
    _, behind, _ = PROGRAMS[title]
    files = {"program.py": SNIPPETS[title] + behind}
    with start(files, sys.executable, "program.py", address=False, **exported) as process:
        assert process.process.wait(20) == 0
    (line,) = process.lines
    (span,) = collector.spans
    assert (line["message"], line["count"], line["trace_id"]) == ("added up", 2, span.trace_id)


def test_the_test_of_the_page_passes(start: Any):
    files = {"test_hello.py": SNIPPETS[TESTS]}
    with start(files, sys.executable, "-m", "pytest", "-q", address=False) as process:
        assert process.process.wait(20) == 0, process.stdout
    assert "1 passed" in process.stdout


def test_the_wheel_is_called_what_the_page_says(wheel: Path):
    (_, _, pattern) = SNIPPETS[INSTALLATION].split()
    assert wheel.match(pattern.removeprefix("dist/"))


def test_no_snippet_is_left_out():
    assert len(SNIPPETS) == README.count("\n```\n")
    assert SNIPPETS.keys() == {INSTALLATION, ZERO_CODE, TESTS, END, *APPLICATIONS, *PROGRAMS}


def rows(title: str) -> list[list[str]]:
    lines = [line for line in SECTIONS[title].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def names(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_the_table_of_endings_is_the_layer_s_own():
    table = [line for line in SECTIONS["How a request ends"].splitlines() if line.startswith("|")]
    assert table == [line for line in str(asgi.__doc__).splitlines() if line.startswith("|")]


def test_the_metrics_and_labels_are_those_of_the_conventions():
    said = {name: names(labels) for metrics, labels in rows("The metrics") for name in names(metrics)}
    metrics = {key: value for key, value in vars(c).items() if isinstance(value, str)}
    known = {
        value
        for value in metrics.values()
        if re.fullmatch(r"\w+_(seconds|total|in_progress|connections|connections_max|queued|waiting)", value)
    }
    assert said.keys() == known - {c.RATE_LIMIT_UNAVAILABLE}
    assert tuple(said[c.HTTP_REQUEST_DURATION]) == c.HTTP_LABELS
    assert tuple(said[c.RPC_SERVER_DURATION]) == c.RPC_LABELS
    assert tuple(said[c.DB_QUERY_DURATION]) == c.DB_QUERY_LABELS
    assert tuple(said[c.DB_QUERY_ERRORS]) == c.DB_ERROR_LABELS
    assert tuple(said[c.REDIS_COMMAND_DURATION]) == c.REDIS_LABELS
    assert tuple(said[c.SPANS_DROPPED]) == c.DROP_LABELS
    assert tuple(said[c.DB_POOL_CONNECTIONS]) == c.POOL_LABELS


def test_every_metric_of_a_process_is_in_the_table():
    registry = CollectorRegistry()
    metrics_of(registry)
    families = text_string_to_metric_families(metrics_response("", registry)[0].decode())
    said = {name.removesuffix("_total") for metrics, _ in rows("The metrics") for name in names(metrics)}
    assert {family.name for family in families if not family.name.endswith("_created")} <= said


def test_the_bounds_and_buckets_are_the_real_ones():
    text = re.sub(r"\s+", " ", SECTIONS["The metrics"])
    for buckets in (c.HTTP_BUCKETS, c.INTERNAL_BUCKETS):
        assert " ".join(f"{edge:g}" for edge in buckets) in text
    assert f"At most {LABEL_SETS:,} label sets" in text
    sizes = re.findall(r"(\d+) series of a route, (\d+) of a method", SECTIONS["First errors"])
    assert sizes == [tuple(str(len(buckets) + 3) for buckets in (c.HTTP_BUCKETS, c.INTERNAL_BUCKETS))]
    policies = re.sub(r"\s+", " ", SECTIONS["Policies"])
    limits = QueueLimits()
    assert f"{limits.spans:,} and of {limits.bytes // 2**20} MiB; a thread sends {limits.batch} at a time" in policies
    assert {c.DROP_FULL, c.DROP_REJECTED, c.DROP_SHUTDOWN} <= set(names(policies))


def test_the_keys_of_an_access_line_are_in_their_order(start: Any):
    with start({"app.py": SNIPPETS["Plain ASGI"]}, "uvicorn", "app:app", "--port", "0") as process:
        process.get()
        process.stop()
    (line,) = process.access_lines
    said = [name for name in names(SECTIONS["The log line"]) if name in line or name in {"error_type", "exception"}]
    assert said[: len(line)] == list(line)


def test_every_attribute_of_the_table_is_one_of_the_conventions():
    spelt = {value for key, value in vars(c).items() if key.isupper() and isinstance(value, str)}
    attributes = {name for attribute, when in rows("The span") for name in names(attribute + when)}
    assert {name for name in attributes if "." in name} <= spelt


def test_every_variable_of_the_code_is_on_the_page():
    code = "".join(path.read_text() for path in (ROOT / "telemetry").glob("*.py"))
    spelt = set(re.findall(r"OTEL_\w*[A-Z]\b", code))
    said = set(re.findall(r"OTEL_\w*[A-Z]\b", README))
    dynamic = {f"OTEL_BSP_{name}" for name in re.findall(r'environ, "([A-Z_]+)"', code)}
    dynamic |= {f"OTEL_EXPORTER_OTLP_{name}" for name in re.findall(r'setting\("([A-Z_]+)"', code)}
    # One of two that differ by the signal.
    assert (spelt | dynamic) - said == {"OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER"}


def test_every_variable_on_the_page_is_somebody_s():
    sources = [ROOT / "telemetry", *(Path(p) for p in sys.path if p.endswith("site-packages"))]
    known = "".join(path.read_text() for path in sources[0].glob("*.py"))
    for package in ("sdk", "instrumentation", "exporter/otlp/proto/grpc"):
        folder = sources[-1] / "opentelemetry" / package
        known += "".join(path.read_text() for path in folder.rglob("*.py"))
    known += " ".join(f"OTEL_EXPORTER_OTLP_{name}" for name in re.findall(r'setting\("([A-Z_]+)"', known))
    said = [name for name in re.findall(r"OTEL_\w*[A-Z]\b", README) if name not in known]
    assert [name for name in said if not name.startswith("OTEL_BSP_")] == []


def test_the_entry_points_and_extras_are_those_of_the_wheel(site: Path):
    (found,) = site.glob("goshop_telemetry-*.dist-info")
    metadata = PathDistribution(found)
    assert {(names(group)[0], names(name)[0]) for group, name, _ in rows("Zero code")} == {
        (entry.group, entry.name) for entry in metadata.entry_points
    }
    extras = set(metadata.metadata.get_all("Provides-Extra") or ())
    (line,) = re.findall(r"^Extras: (.+)$", README, re.MULTILINE)
    assert set(names(line)) == extras - {"instruments"}
