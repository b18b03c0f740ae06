"""Child processes that never outlive this one, whatever ends it.

Each child leads its own process group, so that Ctrl-C in a terminal reaches only this process, which then stops its children
in order; and on Linux the kernel signals each child when this process dies without having had the chance.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

POLL_SECONDS: Final = 0.01
# <linux/prctl.h>
_PR_SET_PDEATHSIG: Final = 1
# Children begin with these as the system has them: shells start background jobs with some ignored, and that survives exec.
_HANDLED: Final = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM)


Child = subprocess.Popen[bytes]


class StartError(Exception):
    """A process did not become ready; the message quotes what it said last."""


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    user: int | None = None,
    pass_fds: Sequence[int] = (),
    on_parent_death: signal.Signals = signal.SIGKILL,
) -> Child:
    """Start a child whose output is appended to `log`, as `user` (a uid without groups) if given.

    Only the main thread may: the kernel watches the thread that forked, not the process (prctl(2), PR_SET_PDEATHSIG).
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("children are started from the main thread: they die with the thread that started them")
    # A signal whose handler raises must not come between the fork and our knowing the child.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
    process = None
    try:
        process = _popen(command, log, env, user, pass_fds, _bind_to_parent(on_parent_death, mask))
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    except BaseException:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if process is not None:
            kill(process)
        raise
    return process


def _popen(  # noqa: PLR0917 - `spawn` with its defaults filled in
    command: Sequence[str | Path],
    log: Path,
    env: Mapping[str, str] | None,
    user: int | None,
    pass_fds: Sequence[int],
    before_exec: Callable[[], None],
) -> Child:
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            pass_fds=pass_fds,
            process_group=0,
            preexec_fn=before_exec,  # noqa: PLW1509 - the main thread forks, and what runs there takes no lock
        )


def _bind_to_parent(death: signal.Signals, mask: Iterable[int]) -> Callable[[], None]:
    parent = os.getpid()
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def bind() -> None:
        for number in _HANDLED:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, int(death), 0, 0, 0)
        # The parent may have died before the kernel was told.
        if os.getppid() != parent:
            os._exit(1)

    return bind


def wait_until(condition: Callable[[], bool], timeout: float) -> bool:
    """Ask `condition` until it holds; False when it did not within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def stop(process: Child, *, grace: float, by: signal.Signals = signal.SIGTERM) -> int:
    """Ask a child to end, kill its group after `grace` seconds, reap it; returns its exit code (negative: the signal)."""
    if process.poll() is None:
        process.send_signal(by)
    try:
        return process.wait(grace)
    except subprocess.TimeoutExpired:
        return kill(process)


def kill(process: Child) -> int:
    """End a child and its process group at once, and reap it."""
    # While it is not reaped its id cannot belong to anybody else.
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def last_lines(log: Path, count: int = 8) -> str:
    """Return the end of a log, for an error message; "" when there is none."""
    try:
        with log.open(encoding="utf-8", errors="replace") as lines:
            return "".join(deque(lines, count)).rstrip()
    except FileNotFoundError:
        return ""


def how_it_ended(code: int) -> str:
    """Say an exit code in words."""
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
