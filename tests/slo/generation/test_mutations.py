"""Every number of a specification, changed: exactly what depends on it changes, and nothing else."""

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from slo.generation.artefacts import artefacts
from slo.openslo.loading import load_specification

SPECS = Path(__file__).parents[3] / "slo" / "specs"
DOCUMENTS = [doc for name in ("checkout", "order") for doc in yaml.safe_load_all((SPECS / f"{name}.yaml").read_text())]
SLOS = ["gateway-availability", "gateway-latency", "order-availability", "order-latency"]
# The gate judges what the gateway's customers meet.
GATED = SLOS[:2]
TABLE, K6 = "slo.md", "k6/checkout.json"

# A policy's alert, its SLOs, another window, and which windows are looked back over then and now by nobody else.
POLICIES = {
    "outage": ("Outage", SLOS[:3], "96m", ["rate96m", "rate8m"], ["1h", "96m"]),
    "fast-burn": ("FastBurn", SLOS, "4h", ["rate4h", "rate20m"], ["6h", "4h"]),
    "burn": ("Burn", SLOS, "10h", ["rate10h", "rate50m"], ["1d", "10h"]),
    "slow-burn": ("SlowBurn", SLOS, "2d", ["rate2d", "rate4h"], ["3d", "2d"]),
}
EDGES = {"gateway-latency": ('le="0.8"', 'le="1.0"'), "order-latency": ('le="0.5"', 'le="0.2"')}
OTHER = {"target": 0.95, "threshold": 2, "alertAfter": "3m", "duration": "28d"}

COUNTED = [
    "slo:sli_bad:increase5m",
    *(f"slo:sli_error:ratio_rate{each}" for each in ("5m", "30m", "1h", "2h", "6h", "1d", "3d")),
]
BAD = [f"slo:sli_bad:increase{each}" for each in ("6h", "1d", "3d")]
BURNS = ["slo:current_burn_rate:ratio", "slo:period_burn_rate:ratio"]


def numbers(value: Any, way: tuple = ()) -> Iterator[tuple]:
    """Yield the way to everything that is a number, has a unit, or is the edge of a bucket."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from numbers(inner, (*way, key))
    elif is_number(value):
        yield way


def is_number(value: Any) -> bool:
    if isinstance(value, str):
        return re.search(r'^\d+[mhdw]$|^[<>=]+ [\d.]+ |le="', value) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)


WAYS = [way for at, document in enumerate(DOCUMENTS) for way in numbers(document, (at,))]


def named(way: tuple) -> str:
    document = DOCUMENTS[way[0]]
    return f"{document['kind']} {document['metadata']['name']} {way[-1]}"


def mutated(way: tuple) -> list:
    documents = copy.deepcopy(DOCUMENTS)
    place: Any = documents
    for step in way[:-1]:
        place = place[step]
    place[way[-1]] = another(place[way[-1]], way[-1], documents[way[0]]["metadata"]["name"])
    return documents


def another(value: Any, key: str, name: str) -> Any:
    if key == "query":
        return value.replace(*EDGES[name])
    if key == "lookbackWindow":
        return POLICIES[name][2]
    return value.replace("100", "90") if isinstance(value, str) and " " in value else OTHER[key]


def camel(slo: str) -> str:
    return "".join(part.capitalize() for part in slo.split("-"))


def alerts_of(slo: str) -> list[str]:
    return [camel(slo) + suffix for suffix, slos, *_ in POLICIES.values() if slo in slos]


def dependents(kind: str, name: str, key: str) -> set:
    """Return what must change: files, and rules as (SLO, record or alert)."""
    if kind == "ReleaseGate":
        return {TABLE, K6}
    if kind == "AlertPolicy":
        return {TABLE, *(rule for slo in POLICIES[name][1] for rule in of_policy(slo, name, key))}
    gated = {K6} if name in GATED and key != "duration" else set()
    return {TABLE, *gated, *((name, rule) for rule in of_slo(name, key))}


def of_policy(slo: str, name: str, key: str) -> Iterator[tuple]:
    suffix, _, _, ratios, bad = POLICIES[name]
    yield slo, camel(slo) + suffix
    if key == "lookbackWindow":
        yield from ((slo, f"slo:sli_error:ratio_{each}") for each in ratios)
        yield from ((slo, f"slo:sli_bad:increase{each}") for each in bad)


def of_slo(slo: str, key: str) -> list[str]:
    if key == "target":
        return ["slo:objective:ratio", "slo:error_budget:ratio", *BURNS, "sloth_slo_info", *alerts_of(slo)]
    if key == "duration":
        periods = ["slo:sli_error:ratio_rate30d", "slo:sli_error:ratio_rate28d", "slo:time_period:days"]
        return [*periods, "slo:period_burn_rate:ratio", *alerts_of(slo)]
    outage = ["slo:sli_bad:increase1h"] if slo in POLICIES["outage"][1] else []
    return [*COUNTED, *BAD, *outage, camel(slo) + "BucketAbsent"]


@pytest.fixture(scope="module")
def derive(tmp_path_factory):
    """Derive everything: files by name, and rules by SLO and name."""
    folder = tmp_path_factory.mktemp("specs")

    def derive(documents: list) -> dict:
        for document in documents:
            if document["kind"] == "ReleaseGate":
                document["spec"]["script"] = str(SPECS / document["spec"]["script"])
        (folder / "specs.yaml").write_text(yaml.safe_dump_all(documents))
        files = artefacts(load_specification([folder / "specs.yaml"]))
        groups = [
            group for name in files if name.startswith("rules/") for group in yaml.safe_load(files[name])["groups"]
        ]
        rules = {(rule["slo"], rule["name"]): rule["said"] for group in groups for rule in named_rules(group)}
        return rules | {name: text for name, text in files.items() if not name.startswith("rules/")}

    return derive


def named_rules(group: dict) -> Iterator[dict]:
    slo = re.sub("^sloth-slo-(increments|sli-recordings|meta-recordings|alerts)-", "", group["name"])
    for rule in group["rules"]:
        yield {"slo": slo, "name": rule.get("record") or rule["alert"], "said": rule}


@pytest.fixture(scope="module")
def unchanged(derive):
    return derive(copy.deepcopy(DOCUMENTS))


def test_every_kind_of_number_is_among_the_mutations():
    assert {way[-1] for way in WAYS} == {"target", "duration", "query", "threshold", "lookbackWindow", "alertAfter"}
    assert len(WAYS) == 4 * 3 + 4 * 2 + 2 + 1


@pytest.mark.parametrize("way", WAYS, ids=named)
def test_a_number_changes_what_depends_on_it_and_nothing_else(way, derive, unchanged):
    document = DOCUMENTS[way[0]]
    now = derive(mutated(way))
    different = {key for key in now.keys() | unchanged.keys() if now.get(key) != unchanged.get(key)}
    assert different == dependents(document["kind"], document["metadata"]["name"], way[-1])
