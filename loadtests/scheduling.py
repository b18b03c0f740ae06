"""Whether k6 had the CPU that it wanted: a load generator that waits for one measures its own waiting.

From the outside there is no server's clock to compare with, so the kernel is asked twice. How much of the machine did k6
use: above 80 % latencies grow by themselves (https://grafana.com/docs/k6/latest/testing-guides/running-large-tests/).
And how long were its threads ready to run while others had the CPUs: the second figure of schedstat, in ns
(https://docs.kernel.org/scheduler/sched-stats.html#proc-pid-schedstat).
"""

import os
from pathlib import Path
from typing import Final

_NANOSECONDS: Final = 1e-9
_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


class CpuWatch:
    """Adds up how long the threads of a process waited for a CPU, for as long as it lives."""

    def __init__(self, pid: int) -> None:
        self._tasks = Path(f"/proc/{pid}/task")
        # By thread: one that has ended keeps what it had waited.
        self._waited: dict[str, int] = {}

    def look(self) -> None:
        """Read the present figures; what is gone, or not told by this kernel, leaves them as they are."""
        try:
            for task in self._tasks.iterdir():
                self._waited[task.name] = int((task / "schedstat").read_text().split()[1])
        except (OSError, IndexError, ValueError):
            # The process ends while we look; the last reading stands.
            return

    @property
    def seconds(self) -> float | None:
        """Seconds of all threads together; None where the kernel tells nothing."""
        return sum(self._waited.values()) * _NANOSECONDS if self._waited else None


def usable_cpus(quota: Path = _QUOTA) -> float:
    """Return how many CPUs this process and its children may use, by affinity and by the control group's quota."""
    allowed = float(len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else float(os.cpu_count() or 1)
    try:
        limit, period = quota.read_text().split()
        return min(allowed, int(limit) / int(period))
    except (OSError, ValueError):
        # No control group of version 2, or "max": no quota.
        return allowed
