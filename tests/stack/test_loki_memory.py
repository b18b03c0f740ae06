"""What the shipped Loki may keep in memory, by the configuration that it says it has."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.compose.model import services, size
from tests.stack.loki import CONFIG


def caches(part: Any) -> Iterator[int]:
    """Yield the bytes that each cache may grow to."""
    if isinstance(part, dict):
        cache = part.get("embedded_cache", {})
        if cache.get("enabled"):
            yield cache["max_size_mb"] << 20
        for each in part.values():
            yield from caches(each)


def test_its_caches_together_fit_into_a_quarter_of_its_container(loki_command: Path) -> None:
    command = [loki_command, f"-config.file={CONFIG}", "-config.expand-env=true", "-verify-config"]
    done = subprocess.run(
        [*command, "-print-config-stderr"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    effective = yaml.safe_load(done.stderr[done.stderr.index("\ntarget:") :])
    sizes = list(caches(effective))
    assert len(sizes) >= 5
    assert sum(sizes) <= size(services()["loki"]["mem_limit"]) / 4
