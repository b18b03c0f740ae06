"""What is compared: every variant, what it stands on, and what must arrive for each of its requests."""

from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Literal

VARIANTS = "benchmarks.telemetry.variants"
TELEMETRY = Path(__file__).parents[2] / "telemetry"

Kind = Literal["bare", "framework", "sdk", "ours", "compiled"]


@dataclass(frozen=True)
class Variant:
    """A way to have telemetry: `base` names the bare application that its cost is taken over."""

    name: str
    title: str
    factory: str
    kind: Kind
    base: str
    spans: int = 1
    lines: int = 1
    histogram: str = "http_request_duration_seconds"


def compiled_modules() -> list[Path]:
    """Return the compiled modules of telemetry; none where it is pure Python."""
    return [path for path in TELEMETRY.rglob("*") if path.name.endswith(tuple(EXTENSION_SUFFIXES))]


def _bare(name: str, title: str, module: str) -> Variant:
    return Variant(name, title, f"{VARIANTS}.{module}:create", "bare", name, spans=0, lines=0, histogram="")


def variants() -> list[Variant]:
    """Return what can be compared here: the compiled layer only where it is built."""
    plugins, integrations = f"{VARIANTS}.litestar_plugins", f"{VARIANTS}.fastapi_integrations"
    own = "litestar_request_duration_seconds"
    found = [
        _bare("litestar", "Litestar, bare", "litestar_items"),
        Variant(
            "litestar-default",
            "Litestar's plugins, default",
            f"{plugins}:create_default",
            "framework",
            "litestar",
            spans=3,
            lines=2,
            histogram=own,
        ),
        Variant(
            "litestar-tuned",
            "Litestar's plugins, tuned",
            f"{plugins}:create_tuned",
            "framework",
            "litestar",
            histogram=own,
        ),
        _bare("fastapi", "FastAPI, bare", "fastapi_items"),
        Variant("fastapi-contrib", "FastAPI, contrib, tuned", f"{integrations}:create_contrib", "framework", "fastapi"),
        Variant("fastapi-native", "FastAPI, own spans, tuned", f"{integrations}:create_native", "framework", "fastapi"),
        Variant("stock-sdk", "Litestar, stock SDK by hand", f"{VARIANTS}.stock_sdk:create", "sdk", "litestar"),
        Variant("ours", "Litestar, goshop-telemetry", f"{VARIANTS}.ours:create", "ours", "litestar"),
    ]
    if compiled_modules():
        found.append(
            Variant(
                "ours-compiled",
                "Litestar, goshop-telemetry, compiled",
                f"{VARIANTS}.ours:create_compiled",
                "compiled",
                "litestar",
            )
        )
    return found
