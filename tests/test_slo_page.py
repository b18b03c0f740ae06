"""docs/slo.md shows what really happens: its file, its commands, their output."""

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import yaml

from slo.generation.alerts import SLOTH_SEVERITY
from slo.generation.recording import ID
from slo.openslo.model import Severity
from tests.goshop.replay import prometheus, replay

ROOT = Path(__file__).parents[1]
NAMED = "https://prometheus.example.org"
PAGE = (ROOT / "docs" / "slo.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_every_command_of_the_page_prints_what_the_page_shows(tmp_path: Path) -> None:
    (specification,) = blocks("yaml")
    (tmp_path / "search.yaml").write_text(specification)
    # As a user has it: the command on the path, and a Prometheus at the address that the page names.
    script = f'goshop() {{ PYTHONPATH={ROOT} "{sys.executable}" -m goshop "$@" 2>/dev/null; }}\n'
    with prometheus(replay("page")) as url:
        for block in blocks("console"):
            steps = re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
            commands = "\n".join(command for command, _ in steps)
            done = subprocess.run(
                ["bash", "-c", script + commands.replace(NAMED, url)],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.stdout == "".join(output for _, output in steps), done.stderr


def test_alertmanager_compares_labels_that_every_alert_has() -> None:
    (routing,) = map(yaml.safe_load, blocks("yml"))
    (rule,) = routing["inhibit_rules"]
    assert routing["route"]["group_by"] == [ID, SLOTH_SEVERITY]
    assert rule["equal"] == [ID]
    assert rule["source_matchers"] + rule["target_matchers"] == [
        f'{SLOTH_SEVERITY}="{severity}"' for severity in get_args(Severity)
    ]


def test_every_link_of_the_page_leads_somewhere() -> None:
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", PAGE) if "://" not in link]
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
