"""What a specification is resolved to: references followed, numbers exact, the same whatever the order of files."""

import os
import shutil
from dataclasses import FrozenInstanceError
from decimal import Decimal
from pathlib import Path

import pytest

from slo.openslo.loading import SpecificationError, load_specification, parse_specification
from slo.openslo.model import Window

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
GOOD = (HERE / "good.yaml").read_text()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "load.js").touch()
    return tmp_path


@pytest.fixture
def good(folder):
    return parse_specification(GOOD.encode(), str(folder / "spec.yaml"))


@pytest.fixture(scope="module")
def shipped():
    return load_specification([ROOT / "slo" / "specs"])


def test_numbers_are_what_was_written(good):
    slo = good.slo("availability")
    assert (slo.objective, slo.budget) == (Decimal("0.9995"), Decimal("0.0005"))
    assert (good.slo("latency").objective, good.slo("latency").budget) == (Decimal("0.99"), Decimal("0.01"))
    assert [str(alert.factor) for alert in slo.alerts] == ["14.4", "1"]


def test_errors_of_what_is_no_mistake_of_the_caller_are_a_ratio(folder):
    text = GOOD.replace(
        "query: http_request_duration_seconds_count\n",
        "query: http_request_duration_seconds_count{status_code!~'4..'}\n",
    ).replace("sloRef: availability\n", "sloRef: availability\n      endpoint: GET /api/products\n")
    found = parse_specification(text.encode(), str(folder / "spec.yaml")).slo("availability")
    assert str(found.sli.everything).endswith('{status_code!~"4.."}')


def test_windows_are_spelled_as_prometheus_spells_them(good):
    fast, slow = good.slo("availability").alerts
    assert (fast.long, fast.short, fast.hold) == (Window(3600, "1h"), Window(300, "5m"), Window(120, "2m"))
    assert (slow.long.text, slow.short.text, slow.hold.text) == ("3d", "6h", "0s")
    assert good.slo("availability").window == Window(2_419_200, "28d")


def test_an_alert_says_how_grave_it_is_and_whom_it_reaches(good):
    fast, slow = good.slo("availability").alerts
    assert (fast.severity, fast.targets, fast.no_data) == ("page", ("on-call",), False)
    assert (slow.severity, slow.targets, slow.no_data) == ("ticket", (), True)


def test_a_latency_is_what_is_not_in_the_bucket(good):
    sli = good.slo("latency").sli
    total = 'http_request_duration_seconds_count{service="gateway"}'
    bucket = 'http_request_duration_seconds_bucket{le="0.8",service="gateway"}'
    assert (sli.kind, sli.le, sli.data_source) == ("latency", Decimal("0.8"), "ours")
    assert sli.bad() == f"(sum(rate({total}[$window])) - sum(rate({bucket}[$window])))"
    assert sli.total("increase") == f"sum(increase({total}[$window]))"
    assert sli.series == ("http_request_duration_seconds_bucket", "http_request_duration_seconds_count")


def test_an_error_that_was_never_seen_counts_as_none(good):
    sli = good.slo("availability").sli
    bad = 'sum(rate(http_request_duration_seconds_count{status_code=~"5.."}[$window]))'
    assert (sli.kind, sli.le) == ("availability", None)
    assert sli.bad() == f"({bad} or 0 * sum(rate(http_request_duration_seconds_count[$window])))"


def test_good_answers_that_were_never_seen_count_as_none(folder):
    text = GOOD.replace("        bad:\n", "        good:\n").replace('=~"5.."', '!~"5.."')
    sli = parse_specification(text.encode(), str(folder / "spec.yaml")).slo("availability").sli
    total = "sum(rate(http_request_duration_seconds_count[$window]))"
    good = 'sum(rate(http_request_duration_seconds_count{status_code!~"5.."}[$window]))'
    assert sli.bad() == f"({total} - ({good} or 0 * {total}))"


def test_labels_and_links_are_inherited_from_the_service(good):
    latency, availability = good.slo("latency"), good.slo("availability")
    assert (latency.labels, availability.labels) == ((("team", "store"),), (("team", "edge"), ("tier", "1")))
    assert (latency.runbook, availability.runbook) == ("", "/runbooks/availability")
    assert latency.dashboard == availability.dashboard == "https://grafana.example.org/d/shop"


def test_the_order_of_documents_and_files_changes_nothing(folder):
    documents = GOOD.split("---\n")
    whole = parse_specification(GOOD.encode(), str(folder / "spec.yaml"))
    parts = [folder / f"{number}.yml" for number in range(len(documents))]
    for part, document in zip(parts, documents, strict=True):
        part.write_text(document)
    (turned,) = {load_specification(reversed(parts)).slos, load_specification([folder]).slos}
    assert turned == whole.slos
    assert load_specification([folder]).services == whole.services


def test_a_file_that_is_named_twice_is_read_once(folder):
    path = folder / "spec.yaml"
    path.write_text(GOOD)
    assert load_specification([path, folder, path]) == load_specification([path])


def test_faults_of_several_files_come_in_order_of_files_and_lines(folder):
    for name in ("b.yaml", "a.yaml"):
        text = f"apiVersion: openslo/v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{x: 1}}\n"
        (folder / name).write_text(text)
    (folder / "c.yaml").write_text("a: [\n")
    with pytest.raises(SpecificationError) as caught:
        load_specification([folder / "none.yaml", folder])
    places = [(Path(fault.file).name, fault.line) for fault in caught.value.faults]
    assert places == [("none.yaml", 1), ("a.yaml", 3), ("a.yaml", 4), ("b.yaml", 3), ("b.yaml", 4), ("c.yaml", 2)]


def test_a_resolved_specification_cannot_be_changed(good):
    with pytest.raises(FrozenInstanceError):
        good.slos[0].objective = Decimal(1)
    assert hash(good.slos)


def test_an_slo_that_is_not_there_is_no_slo(good):
    with pytest.raises(KeyError):
        good.slo("nothing")


def test_every_service_of_the_shop_has_its_objectives(shipped):
    assert [service.name for service in shipped.services] == ["gateway", "order", "payment", "product", "user"]
    kinds = {(slo.service, slo.sli.kind) for slo in shipped.slos}
    assert kinds == {(service.name, kind) for service in shipped.services for kind in ("availability", "latency")}
    assert [slo.id for slo in shipped.slos][:2] == ["gateway-availability", "gateway-latency"]
    assert [gate.name for gate in shipped.gates] == ["checkout"]


def test_every_objective_of_the_shop_has_alerts_a_dashboard_and_a_runbook_that_is_there(shipped):
    for slo in shipped.slos:
        assert slo.runbook == f"/docs/runbooks/{slo.name}.md"
        assert (ROOT / slo.runbook.lstrip("/")).is_file()
        assert slo.dashboard.startswith("/d/")
        assert {alert.severity for alert in slo.alerts} == {"page", "ticket"}


def test_a_specification_can_be_read_without_the_shop_around_it(folder):
    shutil.copytree(ROOT / "slo" / "specs", folder / "slo" / "specs")
    with pytest.raises(SpecificationError, match="there is no such file"):
        load_specification([folder / "slo"])


def test_hidden_folders_packages_of_others_and_pipes_are_passed_by(folder):
    (folder / "spec.yaml").write_text(GOOD)
    for other in (".git", ".github", "node_modules"):
        (folder / other).mkdir()
        (folder / other / "other.yaml").write_text("on: push")
    os.mkfifo(folder / "pipe.yaml")
    assert [slo.name for slo in load_specification([folder]).slos] == ["availability", "latency"]


def test_a_file_that_is_spelled_in_several_ways_is_read_once(folder):
    (folder / "spec.yaml").write_text(GOOD)
    (folder / "more").mkdir()
    spellings = [folder, folder / "spec.yaml", folder / "more" / ".." / "spec.yaml"]
    assert len(load_specification(spellings).slos) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_a_folder_that_is_closed_is_said(folder):
    (folder / "closed").mkdir(mode=0)
    with pytest.raises(SpecificationError, match="closed:1:1: cannot be read: Permission denied"):
        load_specification([folder])


def test_a_thousand_wrong_references_are_said_at_once_and_twenty_of_them_with_a_suggestion(folder):
    names = "".join(
        f"---\n{GOOD.split('---')[4].strip()}\n".replace("fast-requests", f"checkout-requests-{n}") for n in range(400)
    )
    wrong = "".join(
        f"---\n{GOOD.split('---')[5].strip()}\n".replace("latency", f"slo-{n}").replace(
            "fast-requests", f"basket-requests-{n}"
        )
        for n in range(400)
    )
    with pytest.raises(SpecificationError) as caught:
        parse_specification((GOOD + names + wrong).encode(), str(folder / "spec.yaml"))
    assert len(caught.value.faults) == 400
    assert sum("did you mean" in said for said in caught.value.messages) == 20


def test_at_least_a_burn_rate_is_read_as_above_it(folder, good):
    text = GOOD.replace("threshold: 14.4\n", "threshold: 14.4\n          op: gte\n")
    assert parse_specification(text.encode(), str(folder / "spec.yaml")).slos == good.slos
