"""Re-derives every generated file; `--check` compares instead and fails on a difference.

Generated: the gRPC stubs under app/rpc from proto/, docs/openapi.json from the gateway,
slo/schemas/ from the Structs that read specifications and that write verdict.json, slo/generated/ and dashboards/generated/
from slo/specs/.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
STUBS = Path("app/rpc")


def stubs(out: Path) -> None:
    """Write the protobuf and gRPC modules of every proto file below `out`/app/rpc."""
    target = out / STUBS
    target.mkdir(parents=True, exist_ok=True)
    protos = sorted(str(p.relative_to(ROOT / "proto")) for p in (ROOT / "proto").rglob("*.proto"))
    include = [f"-I{ROOT / 'proto'}", f"-I{files('grpc_tools') / '_proto'}"]
    wanted = [f"--python_out={target}", f"--grpc_python_out={target}", f"--pyi_out={target}"]
    if protoc.main(["protoc", *include, *wanted, *protos]):
        sys.exit("protoc failed")
    for module in target.rglob("*_pb2_grpc.py"):
        # protoc writes absolute imports from the proto root; the stubs live inside a package.
        package = module.parent.relative_to(target).as_posix().replace("/", ".")
        text = module.read_text()
        module.write_text(text.replace(f"from {package} import", f"from app.rpc.{package} import"))
    for folder in {p.parent for p in target.rglob("*_pb2.py")}:
        for package in (folder, folder.parent):
            (package / "__init__.py").write_text('"""Generated from proto/; `make generate`."""\n')


def openapi(out: Path) -> None:
    """Write the OpenAPI document of the edge API to `out`/docs/openapi.json."""
    # The stubs may just have been made: whoever needs them is imported now.
    from app.gateway.edge import openapi as document  # noqa: PLC0415

    target = out / "docs" / "openapi.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(document())


def openslo_schema(out: Path) -> None:
    """Write the JSON Schema of specifications to `out`/slo/schemas/openslo.schema.json."""
    from slo.openslo.json_schema import rendered  # noqa: PLC0415 - as above

    target = out / "slo" / "schemas" / "openslo.schema.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(rendered())


def service_levels(out: Path) -> None:
    """Write the rules, thresholds and the table that follow from slo/specs/ to `out`/slo/generated."""
    from slo.generation.artefacts import artefacts  # noqa: PLC0415 - as above
    from slo.generation.folder import remove_stale, write  # noqa: PLC0415 - as above
    from slo.openslo.loading import load_specification  # noqa: PLC0415 - as above

    files = artefacts(load_specification([ROOT / "slo" / "specs"]))
    write(files, out / "slo" / "generated")
    remove_stale(files, out / "slo" / "generated")


def gate_schema(out: Path) -> None:
    """Write the JSON Schema of verdict.json to `out`/slo/schemas/verdict.schema.json."""
    from slo.verdict_schema import rendered  # noqa: PLC0415 - as above

    target = out / "slo" / "schemas" / "verdict.schema.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(rendered())


def grafana_dashboards(out: Path) -> None:
    """Write Grafana's dashboards to `out`/dashboards/generated; what is no dashboard any more goes."""
    from dashboards.artefacts import artefacts  # noqa: PLC0415 - as above
    from slo.openslo.loading import load_specification  # noqa: PLC0415 - as above

    folder = out / "dashboards" / "generated"
    folder.mkdir(parents=True, exist_ok=True)
    files = artefacts(load_specification([ROOT / "slo" / "specs"]))
    for stale in {path for path in folder.glob("*.json") if path.name not in files}:
        stale.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)


GENERATORS: list[Callable[[Path], None]] = [
    stubs,
    openapi,
    openslo_schema,
    gate_schema,
    service_levels,
    grafana_dashboards,
]


def differences(fresh: Path) -> list[str]:
    """Name the files whose committed text is not what the generators make."""
    made = [p.relative_to(fresh) for p in sorted(fresh.rglob("*")) if p.is_file()]
    return [str(p) for p in made if not (ROOT / p).is_file() or (ROOT / p).read_bytes() != (fresh / p).read_bytes()]


def main() -> None:
    """Generate, or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    if not parser.parse_args().check:
        for generate in GENERATORS:
            generate(ROOT)
        return
    with tempfile.TemporaryDirectory() as folder:
        for generate in GENERATORS:
            generate(Path(folder))
        if stale := differences(Path(folder)):
            sys.exit("stale, run `make generate`: " + ", ".join(stale))


if __name__ == "__main__":
    main()
