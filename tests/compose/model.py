"""The shipped stack as data: what compose/ and loki/ say, merged as Docker Compose merges it."""

import re
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
COMPOSE: Final = ROOT / "compose"
FILES: Final = (COMPOSE / "compose.yaml", COMPOSE / "compose.observability.yaml")
# The shop's own, in the order in which config/staging.yaml has them.
SHOP: Final = ("gateway", "user", "product", "order", "payment")
# Ends at once; everything else is a server.
ONCE: Final = "prepare"
_UNITS: Final = {"k": 2**10, "m": 2**20, "g": 2**30}


def read(path: Path) -> dict[str, Any]:
    """Return a YAML file, its anchors merged."""
    found = yaml.safe_load(path.read_text())
    assert isinstance(found, dict)
    return found


def services(profile: str = "full") -> dict[str, dict[str, Any]]:
    """Return the services that start under a profile."""
    found: dict[str, dict[str, Any]] = {}
    for path in FILES:
        found |= read(path)["services"]
    return {name: each for name, each in found.items() if profile in each.get("profiles", [profile])}


def size(text: str) -> int:
    """Return bytes of a size as Docker Compose writes it ("128m")."""
    return int(text[:-1]) * _UNITS[text[-1]]


def filled(text: object, values: dict[str, str]) -> str:
    """Return a value with its variables replaced, as Docker Compose does; raises `KeyError` for one without value."""

    def value(found: re.Match[str]) -> str:
        name, default = found[1], found[3]
        return values[name] if name in values or found[2] != ":-" else default

    return re.sub(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}", value, str(text))


def datasource(uid: str) -> dict[str, Any]:
    """Return a provisioned data source of Grafana."""
    (found,) = [
        each
        for each in read(COMPOSE / "grafana" / "datasources" / "datasources.yaml")["datasources"]
        if each["uid"] == uid
    ]
    assert isinstance(found, dict)
    return found


def promtail() -> dict[str, Any]:
    """Return the only job of loki/promtail.yaml, its variables at their defaults."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (ROOT / "loki" / "promtail.yaml").read_text())
    (job,) = yaml.safe_load(text)["scrape_configs"]
    assert isinstance(job, dict)
    return job


def promtail_stages(kind: str) -> list[Any]:
    """Return what stages of a kind say there, those inside others, too."""
    return list(_stages(promtail()["pipeline_stages"], kind))


def _stages(stages: list[dict[str, Any]], kind: str) -> Any:
    for stage in stages:
        for name, said in stage.items():
            if name == kind:
                yield said
            if name == "match":
                yield from _stages(said["stages"], kind)
