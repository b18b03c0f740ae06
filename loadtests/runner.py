"""One run of load from a profile to a record of every request."""

import shutil
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from loadtests import health, k6, scripts
from loadtests.data import require_data
from loadtests.errors import LoadError
from loadtests.k6_log import read_count, read_interrupted, read_log
from loadtests.plan import SCRIPT, make_plan, write_plan
from loadtests.profiles import Profile
from loadtests.record import LoadRun, Progress
from loadtests.samples import Sample, SampleReader
from loadtests.scheduling import CpuWatch, usable_cpus
from loadtests.thresholds import read_idle_thresholds

# k6 compiles the script and makes its users before the load begins.
_START_SECONDS: Final = 60.0
_RATE_SECONDS: Final = 3.0

OnProgress = Callable[[Progress], None]
# Told all samples so far, about four times a second; whether to end the load.
StopWhen = Callable[[Sequence[Sample]], bool]


def run(
    profile: Profile,
    url: str,
    data_file: Path,
    out_folder: Path,
    *,
    script: Path | None = None,
    on_progress: OnProgress | None = None,
    stop_when: StopWhen | None = None,
) -> LoadRun:
    """Load `url` and return every sample. Leaves samples.csv, summary.json, stderr.log and progress.log in `out_folder`.

    `script`: k6 JavaScript of your own in place of the shop's; it may read any `data_file`. `stop_when` may end the load
    before its time. A failed measurement does not raise: it is a run with `problems`. Ctrl-C stops k6 and is raised again.
    Call this from the main thread, or one that outlives the run: k6 dies with the thread that started it.
    """
    files = k6.K6Files(out_folder.resolve())
    began = time.time()
    try:
        binary = k6.find_k6()
        if script is None:
            require_data(data_file, profile.total_seconds)
        files.clear()
        write_plan(make_plan(profile, url, data_file), files.plan)
        session = _Session(profile, SampleReader(files.samples), on_progress, stop_when)
        variables = ("-e", f"PLAN={files.plan}", "-e", f"SUMMARY={files.summary}")
        process = k6.start(binary, (script or SCRIPT).resolve(), files, variables)
        session.watch_cpu(process.pid)
        exit_ = k6.watch(process, _patience(profile), session.tick)
        session.reader.poll()
    except (LoadError, OSError) as error:
        return LoadRun(profile=profile, url=url, started=began, ended=time.time(), problems=(str(error),))
    return _record(session, url, began, files, exit_)


def plan_script(
    script: Path, profile: Profile, url: str, out_folder: Path, *, variables: Mapping[str, str] = k6.NOTHING
) -> Profile:
    """Return what k6 will run with any script: its own options, or `profile` where it has none.

    `variables` are in the script's `__ENV`, beside BASE_URL. Leaves the configuration that `run_script` takes in `out_folder`. Raises `LoadError`, and OSError for the folder.
    """
    files = k6.K6Files(out_folder.resolve())
    files.clear()
    scripts.write_config(profile, files)
    options = scripts.inspect(k6.find_k6(), script.resolve(), files, url, variables)
    return scripts.scripted(profile, options, script)


def run_script(
    script: Path,
    planned: Profile,
    url: str,
    out_folder: Path,
    *,
    variables: Mapping[str, str] = k6.NOTHING,
    on_progress: OnProgress | None = None,
    stop_when: StopWhen | None = None,
) -> LoadRun:
    """Load `url` with any k6 script, as `plan_script` has `planned` it in this folder; the rest is as in `run`.

    Samples have a trace id where the script gives them one.
    """
    files = k6.K6Files(out_folder.resolve())
    began = time.time()
    session = _Session(planned, SampleReader(files.samples, url), on_progress, stop_when)
    arguments = scripts.arguments(files, url)
    try:
        process = k6.start(k6.find_k6(), script.resolve(), files, arguments, {**variables, **scripts.OPTIONS})
        session.watch_cpu(process.pid)
        exit_ = k6.watch(process, _patience(planned), session.tick)
        session.reader.poll()
    except (LoadError, OSError) as error:
        return LoadRun(profile=planned, url=url, started=began, ended=time.time(), problems=(str(error),))
    return _record(session, url, began, files, exit_, traced=False)


def _patience(profile: Profile) -> float:
    return _START_SECONDS + profile.total_seconds + profile.load.grace


def _record(
    session: "_Session", url: str, began: float, files: k6.K6Files, exit_: k6.K6Exit, *, traced: bool = True
) -> LoadRun:
    reader = session.reader
    ended = time.time()
    there_was = max(ended - began, 1e-9) * usable_cpus()
    evidence = health.Evidence(
        profile=session.profile,
        exit=exit_,
        reader=reader,
        counted=read_count(files.summary),
        log=read_log(files.stderr),
        free=shutil.disk_usage(files.folder).free,
        clock_jump=session.clock_jump,
        traced=traced,
        cpu_share=exit_.cpu_seconds / there_was,
        cpu_missed=(session.cpu_wait or 0.0) / there_was,
    )
    return LoadRun(
        profile=session.profile,
        url=url,
        samples=tuple(reader.samples),
        ends=tuple(reader.ends),
        started=began,
        ended=ended,
        exit_code=exit_.code,
        iterations=sum(reader.iterations.values()),
        interrupted=read_interrupted(files.progress),
        drops=tuple(reader.drops),
        users=tuple(reader.users),
        counted=evidence.counted,
        cpu_seconds=exit_.cpu_seconds,
        stopped=exit_.stopped,
        cpu_share=evidence.cpu_share,
        cpu_wait=session.cpu_wait,
        doubts=() if traced else read_idle_thresholds(files.summary),
        problems=health.problems(evidence),
    )


class _Session:
    """Reads along while k6 runs, tells the progress, and keeps an eye on the clock."""

    def __init__(
        self, profile: Profile, reader: SampleReader, on_progress: OnProgress | None, stop_when: StopWhen | None
    ) -> None:
        self.profile = profile
        self.reader = reader
        self.clock_jump = 0.0
        self._cpu: CpuWatch | None = None
        self._on_progress = on_progress
        self._stop_when = stop_when
        self._began = time.monotonic()
        self._epoch = time.time() - time.monotonic()
        self._seen = 0
        self._failures = 0
        self._counts: deque[tuple[float, int]] = deque([(self._began, 0)])

    @property
    def cpu_wait(self) -> float | None:
        """Seconds that k6's threads waited for a CPU."""
        return self._cpu.seconds if self._cpu else None

    def watch_cpu(self, pid: int) -> None:
        """Begin to look at how long k6 waits for a CPU."""
        self._cpu = CpuWatch(pid)

    def tick(self) -> bool:
        """Take in the new rows and report; tell whether to end the load."""
        jump = time.time() - time.monotonic() - self._epoch
        self.clock_jump = max(self.clock_jump, jump, key=abs)
        self.reader.poll()
        if self._cpu:
            self._cpu.look()
        if self._on_progress:
            self._on_progress(self._progress(time.monotonic()))
        return self._stop_when is not None and self._stop_when(self.reader.samples)

    def _progress(self, now: float) -> Progress:
        samples = self.reader.samples
        self._failures += sum(1 for sample in samples[self._seen :] if not sample.expected)
        self._seen = len(samples)
        while len(self._counts) > 1 and self._counts[1][0] <= now - _RATE_SECONDS:
            self._counts.popleft()
        self._counts.append((now, len(samples)))
        since, before = self._counts[0]
        return Progress(
            elapsed=now - self._began,
            planned=self.profile.total_seconds,
            requests=len(samples),
            rate=(len(samples) - before) / (now - since) if now > since else 0.0,
            failures=self._failures,
            users=self.reader.users[-1][1] if self.reader.users else 0,
        )
