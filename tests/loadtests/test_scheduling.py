"""Whether k6 had the CPU that it wanted is asked of the kernel."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loadtests.scheduling import CpuWatch, usable_cpus
from tests.loadtests.stand_in import wait_until

BUSY = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\nwhile True: pass"

pytestmark = pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="needs Linux's schedstat")


def test_two_who_share_a_cpu_wait_for_it() -> None:
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(2)]
    watch = CpuWatch(busy[0].pid)

    def has_waited() -> bool:
        watch.look()
        return (watch.seconds or 0.0) > 0.05

    try:
        wait_until(has_waited)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    before = watch.seconds
    watch.look()
    assert watch.seconds == before, "what has ended keeps what it waited"


def test_a_process_that_was_never_seen_has_no_figure() -> None:
    watch = CpuWatch(2**22 + 1)
    watch.look()
    assert watch.seconds is None


@pytest.mark.parametrize(("quota", "cpus"), [("max 100000", None), ("50000 100000", 0.5), ("", None)])
def test_a_quota_is_fewer_cpus(tmp_path: Path, quota: str, cpus: float | None) -> None:
    path = tmp_path / "cpu.max"
    path.write_text(quota)
    assert usable_cpus(path) == (cpus or len(os.sched_getaffinity(0)))
    assert usable_cpus(tmp_path / "none") == len(os.sched_getaffinity(0))
