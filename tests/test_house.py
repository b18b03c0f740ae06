"""The rules of the house that no linter knows."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from telemetry import conventions

ROOT = Path(__file__).parents[1]
PACKAGES = ("app", "dashboards", "goshop", "loadtests", "slo", "telemetry")
# Made of two words, but ordinary ones: a JSON member, an argument, a column.
ORDINARY = {"status_code", "trace_id", "span_id", "trace_flags", "duration_ms", "error_type"}


def tracked(pattern: str) -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", pattern], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / line for line in listing.stdout.splitlines() if (ROOT / line).is_file()]


def sources() -> list[Path]:
    files = [p for package in PACKAGES for p in (ROOT / package).rglob("*.py")]
    return [p for p in files if "_pb2" not in p.name]


def convention_names() -> set[str]:
    values = {v for k, v in vars(conventions).items() if k.isupper() and isinstance(v, str)}
    # A single word ("method", "ok") means other things elsewhere.
    return {value for value in values if re.search(r"\w[._-]\w", value)} - ORDINARY


def test_only_conventions_spells_a_metric_label_attribute_or_header() -> None:
    names = convention_names()
    strays = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.value!r}"
        for path in sources()
        if path.name != "conventions.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in names
    ]
    assert strays == []


def test_no_module_is_a_drawer_for_anything() -> None:
    assert [p for p in sources() if p.stem in {"utils", "helpers", "common", "misc"}] == []


@pytest.mark.parametrize("path", tracked("tests/**/test_*.py"), ids=lambda p: str(p.relative_to(ROOT)))
def test_every_test_is_named_by_a_sentence_or_has_one(path: Path) -> None:
    functions = [
        n
        for n in ast.walk(ast.parse(path.read_text()))
        if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) and n.name.startswith("test_")
    ]
    assert [f.name for f in functions if f.name.count("_") < 3 and not ast.get_docstring(f)] == []


def test_the_locks_name_no_host_and_pin_by_hash() -> None:
    for lock in ROOT.glob("requirements*.txt"):
        lines = lock.read_text().splitlines()
        assert not [line for line in lines if re.search(r"https?://|--index-url|--find-links", line)], lock
        assert [line for line in lines if "==" in line and not line.endswith("\\")] == [], lock


def test_no_path_of_a_machine_is_committed() -> None:
    machine = re.compile(r"""(^|[\s"'=:(])/(root|work|home)/""", re.MULTILINE)
    texts = [p for p in tracked("*") if p.suffix in {".py", ".md", ".js", ".yaml", ".toml", ".sh", ".j2", ".sql"}]
    assert [str(p) for p in texts if machine.search(p.read_text()) and p != Path(__file__)] == []


@pytest.mark.parametrize("package", ["slo", "telemetry"])
def test_a_light_package_imports_no_framework_and_no_driver(package: str) -> None:
    heavy = "{'litestar', 'psycopg', 'redis', 'grpc', 'uvicorn'}"
    code = f"import sys, {package}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
