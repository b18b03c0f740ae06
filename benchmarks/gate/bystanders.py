"""How much of the machine others use while a run is recorded: what they take is in its latencies.

All CPU time that was spent, by /proc/stat, less that of this process and all that descend from it, by /proc/PID/stat with
the children that they have waited for; time that a hypervisor took away counts as others'. Linux only.
https://docs.kernel.org/filesystems/proc.html
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
# Of the first line of /proc/stat: user, nice, system, (idle, iowait,) irq, softirq, steal.
_SPENT: Final = (1, 2, 3, 6, 7, 8)
# Behind the name of a process, which may hold anything: parent; user, system and the same of children waited for.
_PARENT: Final = 1
_TIMES: Final = slice(11, 15)


class Bystanders:
    """Watches from when it is made."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._spent, self._own = _spent(), own_seconds()

    def share(self) -> float:
        """Return the part of all CPU time since then that others used; never below 0."""
        others = (_spent() - self._spent) - (own_seconds() - self._own)
        return max(0.0, others / ((time.monotonic() - self._began) * (os.cpu_count() or 1)))


def _spent() -> float:
    fields = (_PROC / "stat").read_text().split("\n", 1)[0].split()
    return sum(int(fields[index]) for index in _SPENT) / _TICKS


def own_seconds() -> float:
    """Return the CPU seconds of this process, of all that descend from it, and of those that they have waited for."""
    processes = dict(_processes())
    return sum(spent for pid, (_, spent) in processes.items() if _descends(pid, processes))


def _descends(pid: int, processes: dict[int, tuple[int, float]]) -> bool:
    while pid in processes and pid != os.getpid():
        pid = processes[pid][0]
    return pid == os.getpid()


def _processes() -> Iterator[tuple[int, tuple[int, float]]]:
    """Yield every process with its parent and the CPU seconds of itself and of the children that it has waited for."""
    for folder in _PROC.iterdir():
        if folder.name.isdecimal():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                # It has ended while we look.
                continue
            yield int(folder.name), (int(fields[_PARENT]), sum(map(int, fields[_TIMES])) / _TICKS)
