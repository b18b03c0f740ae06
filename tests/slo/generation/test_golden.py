"""One specification a feature, and what follows from it. After a wanted change:

for spec in tests/slo/generation/golden/*.yaml; do goshop slo rules $spec --out ${spec%.yaml}; done
"""

from pathlib import Path

import pytest
import yaml

from slo.generation.artefacts import artefacts
from slo.openslo.loading import load_specification

GOLDEN = Path(__file__).parent / "golden"
SPECS = sorted(GOLDEN.glob("*.yaml"))


def below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.stem)
def test_a_feature_leads_to_what_was_agreed(spec):
    assert artefacts(load_specification([spec])) == below(spec.with_suffix(""))


def test_what_is_committed_follows_from_the_shipped_specification_and_nothing_else_lies_there():
    root = Path(__file__).parents[3]
    assert below(root / "slo" / "generated") == artefacts(load_specification([root / "slo" / "specs"]))


def test_text_that_means_something_to_yaml_is_read_as_it_was_written():
    (path,) = (GOLDEN / "foreign-text" / "rules").iterdir()
    rules = [rule for group in yaml.safe_load(path.read_bytes())["groups"] for rule in group["rules"]]
    labels = {
        (rule["labels"]["team"], rule["labels"]["tier"], rule["labels"]["note"]) for rule in rules if "record" in rule
    }
    assert labels == {("on", "2", "{{ $value }} %: # - ?")}


def test_alerts_show_the_braces_of_foreign_text_instead_of_running_them():
    (path,) = (GOLDEN / "foreign-text" / "rules").iterdir()
    alerts = [
        rule for group in yaml.safe_load(path.read_bytes())["groups"] for rule in group["rules"] if "alert" in rule
    ]
    assert {rule["annotations"]["summary"].replace('{{ "{{" }}', "<")[:13] for rule in alerts} == {"< .Labels }}:"}
