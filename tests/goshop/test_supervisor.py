"""However a supervisor ends, nothing of its shop is left: whole processes, real signals, as root and as a normal user."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from goshop.ports import is_taken
from goshop.processes import wait_until
from goshop.run import RunFolder
from goshop.shop import Shop

ROOT = Path(__file__).parents[2]
SUPERVISOR = Path(__file__).with_name("supervisor.py")
PACKAGES = next(path for path in sys.path if path.endswith("site-packages"))
NOBODY = 65534


@contextlib.contextmanager
def supervised(root, python=(sys.executable,)):
    """Run a supervisor; yields its process and what it said when it was up."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), PACKAGES])}
    command = [*python, str(SUPERVISOR), str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ, cwd="/") as process:
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def assert_nothing_is_left(said, processes_of):
    assert wait_until(lambda: not processes_of(said["run"]), 10), processes_of(said["run"])
    assert not [port for port in said["ports"] if is_taken(port)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_supervisor_that_is_asked_to_end_takes_everything_along(number, state_folder, processes_of):
    with supervised(state_folder / "s") as (process, said):
        assert len(processes_of(said["run"])) > 7
        process.send_signal(number)
        assert process.wait(20) == 128 + number
        assert_nothing_is_left(said, processes_of)
        assert not Path(said["run"], "state").exists()


def test_a_second_signal_does_not_disturb_the_clean_up(state_folder, processes_of):
    with supervised(state_folder / "s") as (process, said):
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) in {128 + signal.SIGINT, 128 + signal.SIGTERM}
        assert not Path(said["run"], "state").exists()
        assert_nothing_is_left(said, processes_of)


def test_a_supervisor_that_is_killed_takes_everything_along(state_folder, processes_of):
    with supervised(state_folder / "s") as (process, said):
        process.kill()
        process.wait(5)
        assert_nothing_is_left(said, processes_of)


def test_what_a_killed_supervisor_left_is_removed_by_the_next_run_and_what_is_alive_is_not(state_folder, standin):
    root = state_folder / "leftovers"
    with supervised(root) as (killed, left):
        killed.kill()
        killed.wait(5)
    with supervised(root) as (_, alive):
        states = [Path(said["run"], "state") for said in (left, alive)]
        for state in states:
            os.utime(state / "lock", (0, 0))
        with Shop.start(RunFolder.create(root), command=standin):
            assert [state.exists() for state in states] == [False, True]


def test_ctrl_c_works_in_a_background_job_of_a_shell_too(state_folder, processes_of):
    ignoring = ("sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable)
    with supervised(state_folder / "s", ignoring) as (process, said):
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 128 + signal.SIGINT
        assert_nothing_is_left(said, processes_of)


@pytest.fixture(scope="session")
def as_nobody():
    """Return a command prefix that runs our Python as a user without any rights, or skip loudly."""
    if os.geteuid() != 0:
        pytest.skip("not root: every other test here already runs as a normal user")
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    # Root's own Python often lies in a folder that nobody else may enter: then with the one right to enter it.
    enter = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    for prefix in ([*drop, sys.executable], [*drop, *enter, sys.executable]):
        imports = [*prefix, "-c", "import sys; sys.path[:0] = sys.argv[1:]; import goshop.shop", str(ROOT), PACKAGES]
        with contextlib.suppress(FileNotFoundError):
            if subprocess.run(imports, check=False, capture_output=True, cwd="/").returncode == 0:
                return prefix
    return pytest.skip("NOT CHECKED as a normal user: there is no setpriv, or nobody may run this Python")


def test_a_normal_user_runs_the_shop_and_leaves_nothing(as_nobody, processes_of):
    with tempfile.TemporaryDirectory(prefix="goshop-nobody-") as root:
        os.chown(root, NOBODY, NOBODY)
        with supervised(Path(root, "s"), as_nobody) as (process, said):
            assert len(processes_of(said["run"])) > 7
            process.kill()
            process.wait(5)
            assert_nothing_is_left(said, processes_of)
        with supervised(Path(root, "s"), as_nobody) as (process, said):
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 128 + signal.SIGINT
            assert_nothing_is_left(said, processes_of)
