"""The pipeline for Promtail and the one for its successor say the same, and the switch leaves nothing but the trace id to choose."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from app.sections import Logs
from tests.compose.model import services, size

LOKI = Path(__file__).parents[2] / "loki"
ALLOY = (LOKI / "alloy.alloy").read_text()
PROMTAIL = (LOKI / "promtail.yaml").read_text()


def expanded(text: str, **variables: str) -> Any:
    """Read a configuration as `-config.expand-env=true` does."""
    return yaml.safe_load(re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: variables.get(found[1], found[2]), text))


def walk(stages: list[dict[str, Any]], *keys: str) -> list[str]:
    """Return the values of these keys in all stages, in order."""
    found = []
    for [stage] in (list(stage.items()) for stage in stages):
        body = stage[1] if isinstance(stage[1], dict) else {}
        found += [body[key] for key in keys if key in body]
        found += walk(body.get("stages", []), *keys)
    return found


def stages_of_promtail(**variables: str) -> list[dict[str, Any]]:
    [config] = expanded(PROMTAIL, **variables)["scrape_configs"]
    return config["pipeline_stages"]


def of_alloy(key: str) -> list[str]:
    """Return what Alloy's file gives a key, in order; its strings are JSON's."""
    return [json.loads(text) for text in re.findall(rf'^\s*{key}\s*=\s*("(?:[^"\\]|\\.)*")$', ALLOY, re.MULTILINE)]


def test_both_use_the_same_expressions_in_the_same_order() -> None:
    stages = stages_of_promtail()
    for key in ("expression", "firstline", "template"):
        assert of_alloy(key) == walk(stages, key), key


def test_both_take_json_and_text_apart_in_the_same_way() -> None:
    chosen = [selector for selector in of_alloy("selector") if "trace_id_as" not in selector]
    assert chosen == walk(stages_of_promtail(), "selector")


def test_both_read_the_same_variables_with_the_same_defaults() -> None:
    # The rest is Promtail's own server and its positions, which Alloy has by its command line.
    theirs = dict(re.findall(r'coalesce\(sys\.env\("(\w+)"\), "([^"]*)"\)', ALLOY))
    ours = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", PROMTAIL))
    assert theirs.items() <= ours.items()
    assert {name.removeprefix("PROMTAIL_") for name in ours.keys() - theirs.keys()} == {
        "ADDRESS",
        "HTTP_PORT",
        "POSITIONS",
        "POSITIONS_SYNC",
    }


def test_the_switch_moves_the_trace_id_and_nothing_else() -> None:
    shipped, switched = stages_of_promtail(), stages_of_promtail(PROMTAIL_TRACE_ID_AS="labels")
    assert [(old, new) for old, new in zip(shipped, switched, strict=True) if old != new] == [
        ({"structured_metadata": {"trace_id": None}}, {"labels": {"trace_id": None}})
    ]


def test_both_formats_are_matched_by_one_expression() -> None:
    expression = next(each for each in of_alloy("expression") if "trace_id>" in each)
    for line in ('x traceID="0af7-65" y', '{"a":1,"trace_id":"0af7-65"}', '{"trace_id": "0af7-65"}'):
        found = re.search(expression, line)
        assert found is not None
        assert found["trace_id"] == "0af7-65"
    assert re.search(expression, r'{"message":"traceID=\"0af7\" \"trace_id\":\"0af7\""}') is None


def test_loki_keeps_lines_out_of_order_for_as_long_as_it_says() -> None:
    config = expanded((LOKI / "loki.yaml").read_text())
    assert config["limits_config"]["unordered_writes"] is True
    assert config["compactor"]["retention_enabled"] is True
    assert config["limits_config"]["retention_period"] == config["limits_config"]["reject_old_samples_max_age"]


def test_the_readme_says_what_compose_gives() -> None:
    readme = " ".join((LOKI / "README.md").read_text().split())
    limits = {name: size(services()[name]["mem_limit"]) >> 20 for name in ("loki", "promtail")}
    assert f"Compose bounds Loki to {limits['loki']} MiB and Promtail to {limits['promtail']} MiB" in readme
    environ = services()["order"]["environment"]
    file = int(environ["GOSHOP_LOGS__MAX_BYTES"]) >> 20
    kept = int(environ.get("GOSHOP_LOGS__KEEP", Logs().keep)) + 1
    assert f"(in compose {kept} x {file} MiB a service)" in readme
    assert f"at most one file (in compose {file} MiB)" in readme
    [client] = expanded(PROMTAIL)["clients"]
    assert f"at most two batches of {client['batchsize'] >> 10} KiB" in readme


def test_the_readme_has_the_table_that_was_measured() -> None:
    measured = (LOKI.parent / "benchmarks" / "results" / "log_labels.md").read_text()
    readme = (LOKI / "README.md").read_text()
    _, _, quoted = readme.partition("<!-- labels -->\n")
    quoted, _, _ = quoted.partition("\n<!-- /labels -->")
    assert quoted == measured.partition("\n\n")[2].rstrip("\n")
