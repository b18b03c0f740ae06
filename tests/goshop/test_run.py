"""The folder of a run, and free ports."""

import os
import socket

import pytest

from goshop import ports
from goshop.run import RunFolder, RunFolderError


def test_a_run_s_folder_is_its_owner_s_only_and_in_no_repository(tmp_path):
    run = RunFolder.create(tmp_path / ".goshop")
    assert (tmp_path / ".goshop" / ".gitignore").read_text() == "*\n"
    assert [p.stat().st_mode & 0o077 for p in (tmp_path / ".goshop", run.path, run.logs, run.spans)] == [0, 0, 0, 0]
    assert run.log("order") == run.path / "logs" / "order.log"
    assert run.span_file("order") == run.path / "spans" / "order.otlp"
    assert run.path.is_absolute()


def test_the_latest_run_is_the_newest_by_name_and_foreign_folders_are_none(tmp_path):
    first = RunFolder.create(tmp_path)
    newer = tmp_path / "runs" / "29991231T235959-0000"
    newer.mkdir()
    (tmp_path / "runs" / "zzz").mkdir()
    assert [run.path for run in RunFolder.newest_first(tmp_path)] == [newer, first.path]
    assert RunFolder.latest(tmp_path).path == newer


def test_where_nothing_ran_yet_the_error_says_how_to_run(tmp_path):
    with pytest.raises(RunFolderError, match="goshop gate"):
        RunFolder.latest(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match=rf"{tmp_path}/file"):
        RunFolder.create(tmp_path / "file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_of_somebody_else_s_is_named(tmp_path):
    (tmp_path / "theirs").mkdir(mode=0o500)
    with pytest.raises(RunFolderError, match="Permission denied"):
        RunFolder.create(tmp_path / "theirs")


def test_a_reserved_port_is_given_to_nobody_else_but_a_server_may_listen_on_it():
    with ports.reserve(3) as reserved:
        assert len(set(reserved)) == 3
        with pytest.raises(OSError, match="in use"), socket.socket() as other:
            other.bind((ports.LOOPBACK, reserved[0]))
        assert not ports.is_taken(reserved[0])
        with socket.create_server((ports.LOOPBACK, reserved[0])):
            assert ports.is_taken(reserved[0])
        assert not ports.is_taken(reserved[0])
