"""The wheel: complete, honest about what it needs, and no neighbour's enemy."""

import ast
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email.parser import HeaderParser
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]
# Which distribution an import comes from, where they are not called the same.
DISTRIBUTIONS = {
    "google.rpc": "googleapis-common-protos",
    "grpc": "grpcio",
    "opentelemetry.environment_variables": "opentelemetry-api",
    "opentelemetry.exporter.otlp.proto.grpc": "opentelemetry-exporter-otlp-proto-grpc",
    "opentelemetry.instrumentation": "opentelemetry-instrumentation",
    "opentelemetry.proto": "opentelemetry-proto",
    "opentelemetry.sdk": "opentelemetry-sdk",
    "opentelemetry": "opentelemetry-api",
    "prometheus_client": "prometheus-client",
    "psycopg_pool": "psycopg",
    "pythonjsonlogger": "python-json-logger",
}
# What a module may need beyond the dependencies: the extra of its own.
EXTRAS = {
    "database": {"psycopg"},
    "distro": {"opentelemetry-instrumentation"},
    "grpc": {"grpcio"},
    "grpc_exporter": {"googleapis-common-protos", "grpcio", "opentelemetry-exporter-otlp-proto-grpc"},
    "litestar": {"litestar"},
    "redis": {"redis"},
    "uvicorn": {"opentelemetry-instrumentation", "uvicorn", "wrapt"},
}
THEIRS = {
    "app/__init__.py": "OWNER = 'somebody else'\n",
    "app/main.py": """
import telemetry
from goshop_telemetry import TelemetryMiddleware, configure
from goshop_telemetry.exposition import metrics_app

async def hello(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["path"] == "/metrics":
        return await metrics_app(scope, receive, send)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": telemetry.OWNER.encode()})

app = TelemetryMiddleware(hello, configure("theirs"))
""",
    "telemetry/__init__.py": "OWNER = 'somebody else'\n",
}


@pytest.fixture(scope="session")
def metadata(site: Path) -> PathDistribution:
    (found,) = site.glob("goshop_telemetry-*.dist-info")
    return PathDistribution(found)


def requirements(metadata: PathDistribution, *, extra: bool) -> set[str]:
    found = [Requirement(line) for line in metadata.requires or ()]
    return {each.name for each in found if (each.marker is not None) is extra}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module)


def distribution(module: str) -> str:
    whole = [name for name in DISTRIBUTIONS if f"{module}.".startswith(f"{name}.")]
    return DISTRIBUTIONS[max(whole, key=len)] if whole else module.partition(".")[0]


def test_every_module_and_the_licence_are_in_the_wheel_and_nothing_else(wheel: Path):
    modules = {f"goshop_telemetry/{path.name}" for path in (ROOT / "telemetry").glob("*.py")}
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if ".dist-info/" not in name} == modules | {"goshop_telemetry/py.typed"}
    assert [name for name in names if name.endswith("licenses/LICENSE")]


def test_the_same_sources_make_the_same_wheel(tmp_path: Path):
    built = []
    for folder in ("once", "again"):
        command = [sys.executable, str(ROOT / "scripts" / "build_wheel.py"), str(tmp_path / folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        built.append(Path(done.stdout.strip()).read_bytes())
    assert built[0] == built[1]


def test_a_compiled_wheel_is_for_its_platform_and_serves_requests_by_the_extension(tmp_path: Path):
    command = [sys.executable, str(ROOT / "scripts" / "build_wheel.py"), str(tmp_path), "--compiled"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.stderr.startswith("NOT COMPILED"):
        pytest.skip(f"NOT RUN, the compiled wheel: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    wheel = Path(done.stdout.strip())
    assert not wheel.name.endswith("-none-any.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = "from goshop_telemetry import compiled; print(compiled.Request.__mro__[1])"
    environ = {"PYTHONPATH": str(tmp_path / "site")}
    for more, core in ({}, "_hotpath.RequestCore"), ({"GOSHOP_TELEMETRY_PURE_PYTHON": "1"}, "request.RequestRecord"):
        ran = subprocess.run(
            [sys.executable, "-c", code], env=environ | more, capture_output=True, text=True, check=True
        )
        assert ran.stdout == f"<class 'goshop_telemetry.{core}'>\n"


def test_the_metadata_say_what_it_is(metadata: PathDistribution, wheel: Path):
    about = HeaderParser().parsestr(metadata.read_text("METADATA") or "")
    assert (about["Name"], about["License-Expression"], about["Requires-Python"]) == (
        "goshop-telemetry",
        "Apache-2.0",
        ">=3.11",
    )
    assert wheel.name == f"goshop_telemetry-{about['Version']}-py3-none-any.whl"
    assert "goshop-telemetry" in str(about.get_payload())


@pytest.mark.parametrize("path", sorted((ROOT / "telemetry").glob("*.py")), ids=lambda path: path.name)
def test_everything_that_is_imported_is_declared(metadata: PathDistribution, path: Path):
    needed = {distribution(name) for name in imports(path)} - sys.stdlib_module_names - {"__future__"}
    extra = EXTRAS.get(path.stem, set())
    assert needed <= requirements(metadata, extra=False) | extra
    assert extra <= requirements(metadata, extra=True)


def test_every_dependency_has_a_lower_bound_and_no_upper_one(metadata: PathDistribution):
    specifiers = [Requirement(line).specifier for line in metadata.requires or ()]
    assert {[each.operator for each in specifier] == [">="] for specifier in specifiers} == {True}


def test_every_dependency_is_one_that_is_used(metadata: PathDistribution):
    used = {distribution(name) for path in (ROOT / "telemetry").glob("*.py") for name in imports(path)}
    assert requirements(metadata, extra=False) | requirements(metadata, extra=True) <= used


@pytest.mark.parametrize(
    ("group", "name", "attribute"),
    [
        ("opentelemetry_distro", "goshop_telemetry", "TelemetryDistro"),
        ("opentelemetry_configurator", "goshop_telemetry", "TelemetryConfigurator"),
        ("opentelemetry_instrumentor", "uvicorn", "UvicornInstrumentor"),
        ("opentelemetry_traces_exporter", "goshop_otlp", "OTLPSpanExporter"),
    ],
)
def test_opentelemetry_finds_the_entry_points(metadata: PathDistribution, group: str, name: str, attribute: str):
    (entry,) = metadata.entry_points.select(group=group, name=name)
    assert entry.attr == attribute


def test_it_lives_beside_somebody_else_s_app_and_telemetry(start: Any, collector: Any, eventually_true: Any):
    environ = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector.url}
    with start(THEIRS, "uvicorn", "app.main:app", "--port", "0", **environ) as process:
        answer = process.get("/who?is=it")
        metrics = process.get("/metrics").text
        (span,) = eventually_true(lambda: collector.spans, process)
    (line,) = process.access_lines
    assert answer.text == "somebody else"
    assert answer.headers["x-trace-id"] == span.trace_id == line["trace_id"]
    assert (span.service, line["service"]) == ("theirs", "theirs")
    assert 'http_request_duration_seconds_count{endpoint="",method="GET",status_code="200"} 1.0' in metrics


@pytest.mark.parametrize("module", ["goshop_telemetry", "goshop_telemetry.distro", "goshop_telemetry.testing"])
def test_importing_it_brings_no_framework_driver_or_server(start: Any, eventually_true: Any, module: str):
    heavy = ("litestar", "fastapi", "starlette", "psycopg", "redis", "grpc", "uvicorn", "requests", "telemetry")
    code = f"import sys, {module}; print(sorted({set(heavy)!r} & set(sys.modules)))"
    with start({}, sys.executable, "-c", code, address=False) as process:
        eventually_true(lambda: process.process.poll() is not None)
    assert (process.stdout.strip(), process.stderr) == ("[]", "")


def test_no_module_is_imported_by_the_name_that_it_has_in_the_shop(site: Path):
    strays = [
        f"{path.name}: {name}"
        for path in (site / "goshop_telemetry").glob("*.py")
        for name in imports(path)
        if name.partition(".")[0] in {"telemetry", "app", "goshop", "slo", "loadtests"}
    ]
    assert strays == []
