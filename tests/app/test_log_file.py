"""A service's log file: bounded, safe to rename under its writer, and the place of everything on the standard output."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from app.config import load
from app.log_file import LogFile
from app.sections import Logs

ROOT = Path(__file__).parents[2]


@pytest.fixture
def descriptor(tmp_path: Path):
    """A descriptor that stands for the standard output."""
    with (tmp_path / "terminal").open("w") as terminal:
        yield terminal.fileno()


def lines(folder: Path) -> list[str]:
    return [line for path in folder.glob("user*.log*") for line in path.read_text().splitlines()]


def test_what_is_written_to_the_descriptor_is_in_the_file(tmp_path, descriptor):
    LogFile("user", Logs(folder=str(tmp_path)), descriptor).begin()
    os.write(descriptor, b"a line\n")
    assert (tmp_path / "user.log").read_text() == "a line\n"


def test_a_file_that_is_there_is_continued(tmp_path, descriptor):
    (tmp_path / "user.log").write_text("before\n")
    LogFile("user", Logs(folder=str(tmp_path)), descriptor).begin()
    os.write(descriptor, b"after\n")
    assert (tmp_path / "user.log").read_text() == "before\nafter\n"


def test_a_full_file_is_followed_by_the_next_number_and_the_oldest_one_goes(tmp_path, descriptor):
    file = LogFile("user", Logs(folder=str(tmp_path), max_bytes=2, keep=2), descriptor)
    file.begin()
    for number in range(4):
        os.write(descriptor, f"{number}\n".encode())
        file.look()
    found = {path.name: path.read_text() for path in tmp_path.glob("user*.log")}
    assert found == {"user.2.log": "2\n", "user.3.log": "3\n", "user.4.log": ""}


def test_no_file_is_ever_renamed(tmp_path, descriptor):
    """Whoever knows files by their names would read it again."""
    file = LogFile("user", Logs(folder=str(tmp_path), max_bytes=2, keep=9), descriptor)
    file.begin()
    known: dict[str, int] = {}
    for number in range(5):
        os.write(descriptor, f"{number}\n".encode())
        file.look()
        found = {path.name: path.stat().st_ino for path in tmp_path.glob("user*.log")}
        assert found.items() >= known.items()
        known = found


def test_a_service_that_starts_again_goes_on_with_the_last_file(tmp_path, descriptor):
    for number in range(12):
        file = LogFile("user", Logs(folder=str(tmp_path), max_bytes=2, keep=20), descriptor)
        file.begin()
        os.write(descriptor, f"{number}\n".encode())
        file.look()
    found = {path.name: path.read_text() for path in tmp_path.glob("user.*.log")}
    assert found == {f"user.{number}.log": f"{number}\n" if number < 12 else "" for number in range(1, 13)}


def test_a_first_file_that_is_not_full_is_gone_on_with_whatever_somebody_has_renamed(tmp_path, descriptor):
    (tmp_path / "user.log").write_text("now\n")
    (tmp_path / "user.log.20261124").write_text("then\n")
    LogFile("user", Logs(folder=str(tmp_path)), descriptor).begin()
    os.write(descriptor, b"after\n")
    assert (tmp_path / "user.log").read_text() == "now\nafter\n"


def test_what_is_none_of_its_files_is_left_alone(tmp_path, descriptor):
    others = {"user.log.old", "user.1.log.gz", "user..log", "users.1.log", "user.log.1", "user.x.log", "user.-1.log"}
    for name in others:
        (tmp_path / name).write_text("mine\n")
    file = LogFile("user", Logs(folder=str(tmp_path), max_bytes=2, keep=1), descriptor)
    file.begin()
    for number in range(3):
        os.write(descriptor, f"{number}\n".encode())
        file.look()
    assert {path.name for path in tmp_path.iterdir()} == {*others, "terminal", "user.2.log", "user.3.log"}


def test_a_file_that_is_not_full_is_left_alone(tmp_path, descriptor):
    file = LogFile("user", Logs(folder=str(tmp_path), max_bytes=3), descriptor)
    file.begin()
    os.write(descriptor, b"1\n")
    file.look()
    assert [path.name for path in tmp_path.glob("user*.log")] == ["user.log"]


@pytest.mark.parametrize("somebody", ["renames", "removes"])
def test_a_file_that_somebody_takes_away_is_followed_by_a_new_one(tmp_path, descriptor, somebody):
    file = LogFile("user", Logs(folder=str(tmp_path)), descriptor)
    file.begin()
    path = tmp_path / "user.log"
    path.rename(tmp_path / "user.log.old") if somebody == "renames" else path.unlink()
    file.look()
    os.write(descriptor, b"after\n")
    assert path.read_text() == "after\n"


def test_no_line_is_lost_torn_or_written_twice_while_files_change(tmp_path, descriptor):
    file = LogFile("user", Logs(folder=str(tmp_path), max_bytes=2_000, keep=100), descriptor)
    file.begin()
    said = [f"{writer}-{number:05}" for writer in range(4) for number in range(500)]

    def write(writer: int) -> None:
        for line in said[writer * 500 : (writer + 1) * 500]:
            os.write(descriptor, f"{line}\n".encode())

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        file.look()
    assert sorted(lines(tmp_path)) == said


def test_a_setting_of_the_environment_names_the_folder():
    settings = load("dev", environ={"GOSHOP_LOGS__FOLDER": "/var/log/app", "GOSHOP_LOGS__MAX_BYTES": "1000"})
    assert settings.logs == Logs(folder="/var/log/app", max_bytes=1000)


def test_a_service_says_where_its_lines_go_and_ends_with_its_reason_on_the_standard_error(tmp_path):
    environ = {
        **os.environ,
        "GOSHOP_LOGS__FOLDER": str(tmp_path),
        # Nobody can listen there: documentation only (RFC 5737).
        "GOSHOP_SERVICES__GATEWAY__INTERNAL": "192.0.2.1:9080",
        "GOSHOP_SERVICES__GATEWAY__HTTP": "192.0.2.1:8080",
    }
    command = [sys.executable, "-P", "-m", "goshop", "serve", "gateway", "--env=dev"]
    done = subprocess.run(
        command,
        env={**environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stdout == f"gateway: log lines go to {tmp_path / 'gateway.log'}\n"
    assert "cannot listen on 192.0.2.1:" in done.stderr
    assert (tmp_path / "gateway.log").is_file()
