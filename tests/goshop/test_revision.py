"""A revision becomes a baseline: unpacked and set up once, brought up by its own code, and gone afterwards.

The revisions are commits of small repositories: their Makefile and their `goshop up` do what the real ones do, as far as
the gate can see it. `make test-stack` compares a real one.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from goshop.kept_baselines import KEPT
from goshop.measurement import MeasurementFailed, WrongRequest
from goshop.processes import StartError, wait_until
from goshop.revision import in_use, own_environment, resolve, set_up
from goshop.revision_shop import read_welcome, revision_shop
from goshop.up import WELCOME

MAKEFILE = """\
$(VENV)/.gate: requirements-gate.txt
	@echo set up >> set-up.log
	@env > set-up.env
	@test -z "$(FAIL)" || { echo "no such package" >&2; exit 1; }
	@mkdir -p $(VENV)/bin && ln -sf "$$(command -v $(PYTHON))" $(VENV)/bin/python && touch $@
"""
UP = """\
import os, sys, time
print("goshop: starting ...", file=sys.stderr, flush=True)
{before}
spans = sys.argv[sys.argv.index("--dir") + 1] + "/spans of it"
os.makedirs(spans)
print({welcome!r}.format(url="http://127.0.0.1:1", email="admin@x", password="secret", logs="/l", spans=spans, trace="t"), flush=True)
{after}
"""
FOREVER = "time.sleep(600)"


class Repository:
    """A repository of its own; `commit` makes a revision whose `goshop up` does this before it is up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet")

    def git(self, *arguments: str) -> str:
        who = ("-c", "user.name=x", "-c", "user.email=x@x.test", "-c", "commit.gpgsign=false")
        command = ["git", "-C", str(self.folder), *who, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def commit(self, *, makefile: str = MAKEFILE, before: str = "", after: str = FOREVER, lock: str = "x==1") -> str:
        up = UP.format(before=before, after=after, welcome=WELCOME)
        files = {"Makefile": makefile, "requirements-gate.txt": lock, "goshop/up.py": "", "goshop/__main__.py": up}
        for name, text in files.items():
            (self.folder / name).parent.mkdir(exist_ok=True)
            (self.folder / name).write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "a revision")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "a repository")


@pytest.fixture
def brought_up(repository, tmp_path):
    """Set a commit up and bring its shop up."""

    def bring(commit):
        checkout = set_up(commit, tmp_path / "baselines", tmp_path / "set-up.log", repository.folder)
        return revision_shop(checkout, tmp_path / "root", tmp_path / "shop.log", own_environment({}))

    return bring


def test_a_revision_is_the_commit_that_git_says(repository):
    commit = repository.commit()
    repository.git("tag", "v1")
    assert {resolve(name, repository.folder) for name in ("HEAD", "v1", commit[:10])} == {commit}


def test_no_revision_is_wrong_usage_and_no_repository_a_failed_measurement(repository, tmp_path):
    repository.commit()
    with pytest.raises(WrongRequest, match="there is no such revision"):
        resolve("v2", repository.folder)
    (tmp_path / "plain").mkdir()
    with pytest.raises(MeasurementFailed, match=r"needs git, and .*/plain as a checkout of it: .*not a git repository"):
        resolve("HEAD", tmp_path / "plain")


def test_a_revision_is_set_up_once_and_the_same_locks_share_an_environment(repository, tmp_path):
    first, second = repository.commit(), repository.commit(before="# another")
    other = repository.commit(lock="x==2")
    checkouts = [
        set_up(commit, tmp_path / "baselines", tmp_path / "log", repository.folder)
        for commit in (first, first, second, other)
    ]
    assert [checkout.files.name for checkout in checkouts] == [first, first, second, other]
    assert checkouts[0].python == checkouts[2].python != checkouts[3].python
    assert [(checkout.files / "set-up.log").exists() for checkout in checkouts[1:]] == [True, False, True]
    assert (checkouts[0].files / "set-up.log").read_text() == "set up\n"
    assert subprocess.run([checkouts[0].python, "-c", ""], check=False).returncode == 0


@pytest.fixture
def kept(repository, tmp_path):
    """Set one commit after the other up, and say which are there afterwards."""
    folder = tmp_path / "baselines"

    def set_all_up(*commits: str) -> set[str]:
        for commit in commits:
            set_up(commit, folder, tmp_path / "log", repository.folder)
        return {path.name for path in folder.iterdir()} - {"locks", "venvs"}

    return set_all_up


def test_the_baselines_that_were_used_last_are_kept(repository, kept):
    first, second, *later = [repository.commit(before=f"# {number}") for number in range(KEPT + 1)]
    assert kept(first, second, *later[:-1]) == {first, second, *later[:-1]}
    assert kept(first, later[-1]) == {first, *later}
    assert kept(second) == {first, second, *later[1:]}


def test_a_baseline_in_use_is_kept_however_many_come_after_it(repository, kept, tmp_path):
    first, *later = [repository.commit(before=f"# {number}") for number in range(KEPT + 2)]
    with in_use(set_up(first, tmp_path / "baselines", tmp_path / "log", repository.folder)) as checkout:
        assert kept(*later) == {first, *later[1:]}
        assert checkout.python.exists()
    assert kept(later[-1]) == {*later[1:]}


def test_an_environment_goes_with_the_last_revision_that_has_its_locks(repository, kept, tmp_path):
    old = repository.commit(lock="x==0")
    later = [repository.commit(before=f"# {number}") for number in range(KEPT)]
    venvs = tmp_path / "baselines" / "venvs"
    kept(old, *later[:-1])
    assert len(list(venvs.iterdir())) == 2
    kept(later[-1])
    assert len(list(venvs.iterdir())) == 1


def test_what_a_killed_gate_left_half_unpacked_or_half_removed_is_removed(repository, kept, tmp_path):
    for name in ("baselines/tmpabc/files", "baselines/.removed", "baselines/venvs/.removed"):
        (tmp_path / name).mkdir(parents=True)
    commit = repository.commit()
    assert kept(commit) == {commit}
    assert not (tmp_path / "baselines" / "venvs" / ".removed").exists()


def test_a_set_up_that_fails_says_its_last_words_and_is_tried_again(repository, tmp_path, monkeypatch):
    commit = repository.commit()
    monkeypatch.setenv("FAIL", "1")
    for _ in range(2):
        with pytest.raises(
            MeasurementFailed,
            match=rf"baseline {commit[:12]} cannot be set up: make exited with 2:\n.*\n?no such package",
        ):
            set_up(commit, tmp_path / "baselines", tmp_path / "log", repository.folder)
    monkeypatch.delenv("FAIL")
    assert set_up(commit, tmp_path / "baselines", tmp_path / "log", repository.folder).python.exists()


def test_a_set_up_without_an_end_is_ended(repository, tmp_path):
    commit = repository.commit(makefile="$(VENV)/.gate:\n\t@echo asking; sleep 600\n")
    with pytest.raises(MeasurementFailed, match=r"cannot be set up: make took longer than 0.5 s:\n(.*\n)?asking"):
        set_up(commit, tmp_path / "baselines", tmp_path / "log", repository.folder, within=0.5)


def test_a_set_up_finds_an_interpreter_in_a_folder_with_a_space(repository, tmp_path, monkeypatch):
    python = tmp_path / "a folder" / "our-python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(python))
    checkout = set_up(repository.commit(), tmp_path / "base lines", tmp_path / "log", repository.folder)
    assert checkout.python.readlink() == python


def test_a_set_up_learns_no_secret_of_ours(repository, tmp_path, monkeypatch):
    for name in ("GOSHOP_PROMETHEUS_TOKEN", "GOSHOP_AUTH__ADMIN_PASSWORD"):
        monkeypatch.setenv(name, "secret")
    checkout = set_up(repository.commit(), tmp_path / "baselines", tmp_path / "log", repository.folder)
    assert "GOSHOP_" not in (checkout.files / "set-up.env").read_text()


def test_what_cannot_be_unpacked_is_a_failed_measurement(repository, tmp_path):
    (repository.folder / "link").symlink_to("/etc/passwd")
    commit = repository.commit()
    with pytest.raises(MeasurementFailed, match=f"the baseline {commit[:12]} cannot be unpacked: .*link"):
        set_up(commit, tmp_path / "baselines", tmp_path / "log", repository.folder)
    (tmp_path / "file").touch()
    with pytest.raises(MeasurementFailed, match=f"the baseline {commit[:12]} cannot be set up: .*Not a directory"):
        set_up(commit, tmp_path / "file" / "baselines", tmp_path / "log", repository.folder)


def test_a_git_that_does_not_answer_is_a_failed_measurement(repository, tmp_path, monkeypatch):
    repository.commit()
    git = tmp_path / "bin" / "git"
    git.parent.mkdir()
    git.write_text("#!/bin/sh\ncase $* in *--git-dir) exit 0;; esac\nexec sleep 60\n")
    git.chmod(0o700)
    monkeypatch.setenv("PATH", str(git.parent), prepend=os.pathsep)
    with pytest.raises(MeasurementFailed, match=r"timed out after 0.3 seconds"):
        resolve("HEAD", repository.folder, within=0.3)


def test_a_revision_without_a_command_to_bring_it_up_is_no_baseline(repository, tmp_path):
    repository.commit()
    repository.git("rm", "--quiet", "-r", "goshop")
    repository.git("commit", "--quiet", "--message", "none")
    with pytest.raises(MeasurementFailed, match="it has no `goshop up`; name a later revision"):
        set_up(resolve("HEAD", repository.folder), tmp_path / "baselines", tmp_path / "log", repository.folder)
    assert [path.name for path in (tmp_path / "baselines").iterdir()] == ["locks"]


def test_its_shop_says_where_it_is_and_is_gone_afterwards(repository, brought_up):
    with brought_up(repository.commit()) as shop:
        assert (shop.url, shop.admin, shop.ended()) == ("http://127.0.0.1:1", ("admin@x", "secret"), "")
        assert shop.spans.is_dir()
    assert shop.process.poll() is not None
    assert not shop.spans.exists()


def test_a_shop_that_does_not_come_up_says_its_last_words(repository, brought_up):
    with (
        pytest.raises(StartError, match=r"its shop exited with 7 before it was up:\n(.*\n)?no port"),
        brought_up(repository.commit(before="print('no port', flush=True); sys.exit(7)")),
    ):
        pass


def test_an_environment_that_was_taken_away_is_said_with_what_helps(repository, brought_up, tmp_path):
    shop = brought_up(repository.commit())
    for python in (tmp_path / "baselines" / "venvs").glob("*/bin/python"):
        python.unlink()
    with (
        pytest.raises(StartError, match=r"No such file or directory; remove .*/baselines to have it set up again"),
        shop,
    ):
        pass


def test_a_shop_that_dies_is_seen(repository, brought_up):
    with brought_up(repository.commit()) as shop:
        shop.process.terminate()
        assert wait_until(lambda: shop.ended() != "", 10)
        assert shop.ended() == "its shop was killed by SIGTERM:\ngoshop: starting ..."


def test_a_shop_that_dies_says_its_last_words_and_not_its_welcome_which_has_a_password_in_it(
    repository, brought_up, tmp_path
):
    end = tmp_path / "end"
    dies = f"while not os.path.exists({str(end)!r}): time.sleep(0.01)\nsys.exit('order exited with 1; the shop stops')"
    with brought_up(repository.commit(after=dies)) as shop:
        end.touch()
        assert wait_until(lambda: shop.ended() != "", 10)
        assert shop.ended() == "its shop exited with 1:\ngoshop: starting ...\norder exited with 1; the shop stops"


def test_a_shop_whose_welcome_is_not_understood_does_not_tell_its_password_either(repository, brought_up):
    welcome = "print('GoShop is up: x\\n\\n  admin  secret\\n', flush=True); sys.exit(3)"
    with pytest.raises(StartError) as failed, brought_up(repository.commit(before=welcome)):
        pass
    assert "secret" not in str(failed.value)


def test_a_revision_is_told_settings_alone_as_old_ones_start_with_nothing_else(repository, tmp_path):
    told = "print([name for name in os.environ if name.startswith('GOSHOP_')], flush=True)"
    checkout = set_up(
        repository.commit(before=told), tmp_path / "baselines", tmp_path / "set-up.log", repository.folder
    )
    environ = own_environment(
        {"GOSHOP_DB__TIMEOUT": "2", "GOSHOP_TELEMETRY_PURE_PYTHON": "1", "GOSHOP_PROMETHEUS": "x"}
    )
    with revision_shop(checkout, tmp_path / "root", tmp_path / "shop.log", environ) as shop:
        assert "['GOSHOP_DB__TIMEOUT']" in shop.log.read_text().splitlines()


def test_what_our_own_make_and_interpreter_say_is_not_passed_on():
    kept = own_environment({"MAKEFLAGS": "-n", "PYTHONPATH": "/x", "VIRTUAL_ENV": "/x", "HOME": "/h"})
    assert kept == {"HOME": "/h"}


def test_the_welcome_of_this_revision_is_one_that_is_understood(tmp_path):
    said = WELCOME.format(
        url="http://127.0.0.1:8000",
        email="a@b.test",
        password="p-_w",
        logs="/l",
        spans="/with a space/s",
        trace="goshop trace",
    )
    shop = read_welcome(f"goshop: starting ...\n{said}", None, tmp_path / "log")
    assert (shop.url, shop.admin, shop.spans) == (
        "http://127.0.0.1:8000",
        ("a@b.test", "p-_w"),
        Path("/with a space/s"),
    )
    assert read_welcome("goshop: starting ...\n", None, tmp_path / "log") is None
