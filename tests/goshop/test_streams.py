"""The exit code is the answer, also where a standard stream is closed, full or no longer read."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from goshop.streams import reader_may_leave
from tests.goshop.plain import ROOT, script, write_specification
from tests.loadtests.stand_in import StandIn, served

BRIEF = "vus: 2, duration: '1s'"
# What the shell makes of the streams before the command takes its place.
GONE = 'exec "$@" >&-'
CLOSED = 'exec "$@" 2>&-'
FULL = 'exec "$@" 2>/dev/full'


def command(tmp_path: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "goshop", "gate", *arguments, "--dir", str(tmp_path / "runs"), "--history", "none"]


@pytest.fixture
def judged(tmp_path):
    """A command whose verdict is inconclusive: a load of a second decides nothing."""
    (tmp_path / "plain.js").write_text(script("/", options=BRIEF))
    specification = write_specification(tmp_path / "gate.yaml")
    with served(StandIn(_answer)) as service:
        yield command(tmp_path, str(specification), "--url", service.url, "--script", str(tmp_path / "plain.js"))


async def _answer(_request: str):
    return 200, {}, {}


def test_a_verdict_stands_when_its_reader_has_left_or_a_stream_is_closed(judged) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as unread, ThreadPoolExecutor() as pool:
        left = pool.submit(subprocess.run, judged, stdout=unread, stderr=subprocess.PIPE, cwd=ROOT, check=False)
        without = [
            pool.submit(
                subprocess.run, ["sh", "-c", streams, "sh", *judged], capture_output=True, cwd=ROOT, check=False
            )
            for streams in (GONE, CLOSED)
        ]
        done = [each.result() for each in (left, *without)]
    assert [each.returncode for each in done] == [3, 3, 3], [each.stderr for each in done]
    assert b"Traceback" not in b"".join(each.stderr or b"" for each in done)
    assert b"INCONCLUSIVE" in done[2].stdout


def test_misuse_is_misuse_where_nobody_can_be_told(tmp_path: Path) -> None:
    misuse = command(tmp_path, "--url", "staging")
    done = subprocess.run(["sh", "-c", FULL, "sh", *misuse], capture_output=True, cwd=ROOT, check=False)
    assert done.returncode == 2


def test_only_a_reader_who_left_is_forgiven() -> None:
    with pytest.raises(OSError, match="full"), reader_may_leave():
        raise OSError("full")
