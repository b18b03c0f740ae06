"""The way of docs/tour.md that needs no Docker, each command as it stands there, in one shell, with a shorter load."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from slo.load import WAITED_OUTSIDE
from slo.verdict import EXITS
from tests.tour import ROOT, blocks

pytestmark = pytest.mark.timeout(300)

ENDED = "<ended with "


@dataclass(frozen=True)
class Step:
    """What a block has said on stdout, and the exit code of its last command."""

    said: str
    code: int


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> list[Step]:
    """Every block, in order; once more where a busy machine kept the gate from measuring, as the reader would."""
    found = walked(tmp_path_factory.mktemp("tour"))
    if WAITED_OUTSIDE in found[0].said:
        found = walked(tmp_path_factory.mktemp("tour"))
    return found


def walked(folder: Path) -> list[Step]:
    """Walk the way in an empty folder."""
    # The specification is the repository's; what is made is the reader's own.
    (folder / "slo").symlink_to(ROOT / "slo")
    goshop = f'goshop() {{ "{sys.executable}" -m tests.goshop.shortened 0.3 "$@"; }}\n'
    script = goshop + "".join(f'{block}echo "{ENDED}$?>"\n' for block in blocks("Without Docker"))
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    parts = re.split(rf"{ENDED}(\d+)>\n", done.stdout)
    assert len(parts) == 2 * len(blocks("Without Docker")) + 1, done.stderr
    return [Step(said, int(code)) for said, code in zip(parts[::2], parts[1::2], strict=False)]


def test_the_gate_fails_and_says_where(steps: list[Step]) -> None:
    assert steps[0].code == EXITS["fail"], steps[0].said
    assert "FAIL  " in steps[0].said
    assert "in product: SELECT products on products (GET /api/products, " in steps[0].said


def test_a_trace_of_it_is_found_without_typing_an_id(steps: list[Step]) -> None:
    assert steps[1] == Step("", 0)
    assert steps[2].code == 0
    drawn = steps[2].said
    assert re.search(r"^product +SELECT products .*SQLSTATE", drawn, re.MULTILINE)
    assert "GET /api/products 503 in" in drawn


def test_the_statement_itself_is_told(steps: list[Step]) -> None:
    assert steps[3].code == 0
    assert "FROM products" in steps[3].said


def test_the_alert_that_it_would_have_been_leads_to_its_page(steps: list[Step]) -> None:
    assert steps[4].code == 0
    assert 'runbook_url: "/docs/runbooks/product-availability.md#outage"' in steps[4].said
